"""A trial of a few training steps, in a process of its own so that its peak of memory can be measured.

Run as `python -m volseg.planning.trial_training FOLDER`: it reads `order.json` there and writes
`outcome.json`.
"""

import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from volseg.arguments import TrainArguments
from volseg.config.config import Config
from volseg.data.dataset import Dataset
from volseg.data.preprocessing.grid import NetworkGrid, NetworkInput
from volseg.errors import UserError
from volseg.inference.predictor import window_tiling
from volseg.model.distributed import process_group
from volseg.model.engines.device_errors import is_out_of_memory
from volseg.planning.trial_recorder import TrialRecorder
from volseg.runs.run import Run
from volseg.runs.run_files import RunSplits
from volseg.schema import Section
from volseg.system.files import write_text
from volseg.system.hardware import gpu_memory_in_use, peak_memory
from volseg.training import loop, train
from volseg.training.loading.device_scans import device_room
from volseg.training.loading.loader import AHEAD, default_threads
from volseg.training.training import Training

ORDER, OUTCOME = "order.json", "outcome.json"
BUSY = 0.75
"""The share of a step in which the processor is at work, at least, on a CPU that is all this trial's."""
STEPS = 10_000  # steps of a trial, were it not ended before


class TrialOrder(Section):
    """The config to try on some scans of a prepared dataset, of which `scan` has a usual size.

    `device` is a name as `--device` takes it.
    """

    config: Config
    data: Path
    facts: RunSplits
    scan: str
    device: str | None = None


class TrialMeasurements(Section):
    """The measurements of a trial.

    `shape` is that of a usual scan on the network's grid. Seconds are the median ones of a step (waiting for
    data included), those of the processor during a step (all threads), of loading the scans, of validation,
    and of writing the epoch's files. `memory` is the process's peak of main memory, `gpu_memory` that of a
    GPU's with all that torch reserves and the CUDA context; `gpu_room` is what it has for packed scans.
    """

    device: str
    parameters: int
    shape: tuple[int, ...]
    steps: int
    step_seconds: float
    processor_seconds: float
    loading_seconds: float
    validation_seconds: float
    saving_seconds: float
    memory: int
    gpu_memory: int | None
    gpu_room: int = 0

    @property
    def alone_seconds(self) -> float:
        """Seconds of a step at most on an idle machine: its processor time where that is less."""
        return self.step_seconds if self.gpu_memory else min(self.step_seconds, self.processor_seconds)

    @property
    def busy_text(self) -> str:
        """How little of a step this training had the processor, where other programs use a CPU; else ''."""
        if self.gpu_memory or not self.steps or self.processor_seconds >= BUSY * self.step_seconds:
            return ""
        return (
            f"a step took {self.step_seconds:.2g} s, in which it had the processor for "
            f"{self.processor_seconds:.2g} s"
        )


class TrialOutcome(Section):
    """The measurements of a trial, or why there are none: a mistake of the user's, or too little memory."""

    measurements: TrialMeasurements | None = None
    mistake: str = ""
    out_of_memory: bool = False


def main(folder: Path) -> int:
    """Run the trial that is ordered in a folder; return the exit code."""
    order = TrialOrder.model_validate_json((folder / ORDER).read_bytes())
    outcome = try_order(order, folder / "run")
    write_text(folder / OUTCOME, outcome.model_dump_json())
    return 0 if outcome.measurements else 1


def try_order(order: TrialOrder, folder: Path) -> TrialOutcome:
    """What becomes of a trial whose run is written into `folder`."""
    try:
        return TrialOutcome(measurements=run_trial(order, folder))
    except Exception as error:
        if is_out_of_memory(error):
            return TrialOutcome(out_of_memory=True)
        if isinstance(error, UserError):
            return TrialOutcome(mistake=str(error))
        raise


def run_trial(order: TrialOrder, folder: Path) -> TrialMeasurements:
    """Train for one short epoch, with validation and checkpoint, through the loop of training itself.

    Raises:
        UserError: as training would.
    """
    others = gpu_memory_in_use()
    run = Run.create(folder, _shortened_config(order.config), order.facts)
    dataset = Dataset.load(order.data)
    training = train.build_training(run, dataset, TrainArguments(device=order.device))
    device = training.stepper.device.device
    room = device_room(device)
    if torch.backends.cudnn.benchmark:  # else the search counts as a part of each validation
        training.validation.warm_up()
    recorder = TrialRecorder(
        wait=lambda: synchronize(device), prefetched=prefetched_batches(training), behind=device.type != "cpu"
    )
    loop.train_until_done(recorder.attach_to(training))
    end, peak = time.monotonic(), peak_memory()
    scan = dataset.image(dataset.select_samples(order.scan)[0])
    grid = NetworkGrid.from_volume(scan, order.config.data.spacing_mm)
    step_seconds, processor_seconds = recorder.step_seconds
    return TrialMeasurements(
        device=str(training.stepper.device),
        parameters=sum(weights.numel() for weights in training.state.network.parameters()),
        shape=grid.shape,
        steps=recorder.measured,
        step_seconds=step_seconds,
        processor_seconds=processor_seconds,
        loading_seconds=_loading_seconds(run, dataset),
        validation_seconds=recorder.validated
        - recorder.times[-1].wall
        + recorder.predicted * _extra_window_share(dataset, order),
        saving_seconds=end - recorder.validated,
        memory=peak,
        gpu_memory=gpu_peak(device, others) if device.type == "cuda" else None,
        gpu_room=room,
    )


def prefetched_batches(training: Training) -> int:
    """The batches at most that are ready before they are asked for."""
    threads = training.run.config.train.workers
    if threads is None:
        threads = default_threads(process_group.rank_cores(), gpu=training.stepper.device.is_cuda)
    return AHEAD + 1 if threads else 0  # one of them on the device


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all work that was given to it; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def gpu_peak(gpu: torch.device, others: Mapping[str, int]) -> int:
    """The peak of a GPU's memory in bytes: what torch reserved, and what it has besides.

    That is the CUDA context with the kernels and the libraries' own memory: all that is in use now, less
    torch's part and less what `others`, by UUID, used before. What is not known of others counts as ours.
    """
    free, total = torch.cuda.mem_get_info(gpu)
    before = others.get(str(torch.cuda.get_device_properties(gpu).uuid), 0)
    besides = total - free - torch.cuda.memory_reserved(gpu) - before
    return torch.cuda.max_memory_reserved(gpu) + max(0, besides)


def _shortened_config(config: Config) -> Config:
    """The config with one epoch, windows that do not overlap, and no cache on disk.

    Overlapping windows take as much memory, and time in proportion to their number.
    """
    epoch = {"steps": STEPS, "epoch_steps": STEPS, "patience": None}
    update = {
        "data": config.data.model_copy(update={"cache": "memory"}),
        "train": config.train.model_copy(update=epoch),
        "inference": config.inference.model_copy(update={"overlap": 0.0}),
    }
    return config.model_copy(update=update)


def _extra_window_share(dataset: Dataset, order: TrialOrder) -> float:
    """The windows that the trial left out (since its own do not overlap), as a share of its own."""
    config, few, many = order.config, 0, 0
    for name in order.facts.unseen_cases:
        channels = dataset.channels(dataset.select_samples(name)[0])
        view = NetworkInput.from_channels(channels, config.data.spacing_mm, config.data.intensity)
        window, reach = config.window, config.network.reach[2]
        few += window_tiling(view, _shortened_config(config).inference, window, reach=reach).window_count
        many += window_tiling(view, config.inference, window, reach=reach).window_count
    return many / few - 1 if few else 0.0


def _loading_seconds(run: Run, dataset: Dataset) -> float:
    """Seconds to load the scans, without the import of libraries."""
    began = time.monotonic()
    train.cached_patches(run, dataset, torch.device("cpu"))
    return time.monotonic() - began


def _exit_with_parent() -> None:
    """End this process as soon as its parent has ended, which closes the pipe to stdin."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock others may want
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _exit_with_parent()
    sys.exit(main(Path(sys.argv[1])))
