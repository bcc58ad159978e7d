"""A trial of a few training steps, in a process of its own so that its peak of memory can be measured.

Run as `python -m volseg.planning.trial_training FOLDER`: it reads `order.json` there and writes
`measurements.json`, or the text of a UserError to `mistake.txt`.
"""

import os
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from volseg.config.config import Config
from volseg.data.dataset import Dataset
from volseg.data.preprocessing.grid import NetworkGrid, NetworkInput
from volseg.errors import UserError
from volseg.inference.predictor import window_tiling
from volseg.runs.run import Run
from volseg.runs.run_files import RunSplits
from volseg.schema import Section
from volseg.system.files import write_text
from volseg.system.hardware import peak_memory
from volseg.training import loop, train
from volseg.training.loop import Training

ORDER, MEASUREMENTS, MISTAKE = "order.json", "measurements.json", "mistake.txt"
WARM_UP, FEWEST, MOST = 2, 3, 40  # steps that are not measured, and the least and most that are
SECONDS = 5.0  # seconds after which enough steps are measured


class TrialOrder(Section):
    """The config to try on some scans of a prepared dataset, of which `scan` has a usual size."""

    config: Config
    data: Path
    facts: RunSplits
    scan: str


class TrialMeasurements(Section):
    """The measurements of a trial.

    `shape` is that of a usual scan on the network's grid. Seconds are those of a step (waiting for data
    included), of the processor during a step (all threads), of loading the scans, of validation, and of
    writing the epoch's files. `memory` is the peak of the main process, `gpu_memory` that of tensors.
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

    @property
    def alone_seconds(self) -> float:
        """Seconds of a step at most on an idle machine: its processor time where that is less."""
        return self.step_seconds if self.gpu_memory else min(self.step_seconds, self.processor_seconds)


def main(folder: Path) -> int:
    """Run the trial that is ordered in a folder; return the exit code."""
    try:
        order = TrialOrder.model_validate_json((folder / ORDER).read_bytes())
        write_text(folder / MEASUREMENTS, run_trial(order, folder / "run").model_dump_json())
    except UserError as error:
        write_text(folder / MISTAKE, str(error))
        return 1
    return 0


def run_trial(order: TrialOrder, folder: Path) -> TrialMeasurements:
    """Train for one short epoch, with validation and checkpoint, through the loop of training itself.

    Raises:
        UserError: as training would.
    """
    run = Run.create(folder, _shortened_config(order.config), order.facts)
    dataset = Dataset.load(order.data)
    training = train.build_training(run, dataset)
    recorder = TrialRecorder()
    loop.train_until_done(recorder.attach_to(training))
    end, peak = time.monotonic(), peak_memory()
    (first, cpu_first), (last, cpu_last) = recorder.steps[WARM_UP - 1], recorder.steps[-1]
    steps = len(recorder.steps) - WARM_UP
    scan = dataset.image(dataset.select_samples(order.scan)[0])
    grid = NetworkGrid.from_volume(scan, order.config.data.spacing_mm)
    return TrialMeasurements(
        device=str(training.stepper.device),
        parameters=sum(weights.numel() for weights in training.state.network.parameters()),
        shape=grid.shape,
        steps=steps,
        step_seconds=(last - first) / steps,
        processor_seconds=(cpu_last - cpu_first) / steps,
        loading_seconds=_loading_seconds(run, dataset),
        validation_seconds=recorder.validated
        - last
        + recorder.predicted * _extra_window_share(dataset, order),
        saving_seconds=end - recorder.validated,
        memory=peak,
        gpu_memory=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    )


def _shortened_config(config: Config) -> Config:
    """The config with one epoch of few steps, windows that do not overlap, and no cache on disk.

    Overlapping windows take as much memory, and time in proportion to their number.
    """
    epoch = {"steps": WARM_UP + MOST, "epoch_steps": WARM_UP + MOST, "patience": None}
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
        sample = dataset.select_samples(name)[0]
        channels = dataset.channels(sample)
        view = NetworkInput.from_channels(channels, config.data.spacing_mm, config.data.intensity)
        few += window_tiling(view, _shortened_config(config).inference, config.window).window_count
        many += window_tiling(view, config.inference, config.window).window_count
    return many / few - 1 if few else 0.0


@dataclass
class TrialRecorder:
    """Wall-clock and processor time at the end of each step, and the time when validation ended.

    `predicted` are the seconds of validation in which the network was at work.
    """

    steps: list[tuple[float, float]] = field(default_factory=list)
    validated: float = 0.0
    predicted: float = 0.0

    def attach_to(self, training: Training) -> Training:
        """The training with this recorder as its hooks; it ends when enough steps are measured."""
        training.state.validated_network.register_forward_pre_hook(self._on_forward_begin)
        training.state.validated_network.register_forward_hook(self._on_forward_end)

        def on_step(_step: int, _loss: float) -> None:
            if self._measure_step():
                training.clock.end()

        return replace(training, on_step=on_step, on_validation=self._on_validation)

    def _measure_step(self) -> bool:
        """Record the end of a step; whether enough are recorded."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.monotonic()
        self.steps.append((now, time.process_time()))
        return len(self.steps) >= WARM_UP + FEWEST and now - self.steps[WARM_UP - 1][0] > SECONDS

    def _on_validation(self, _scores: dict[str, float]) -> None:
        self.validated = time.monotonic()

    def _on_forward_begin(self, network: nn.Module, *_: object) -> None:
        if not network.training:
            self.predicted -= time.monotonic()

    def _on_forward_end(self, network: nn.Module, *_: object) -> None:
        if not network.training:
            self.predicted += time.monotonic()


def _loading_seconds(run: Run, dataset: Dataset) -> float:
    """Seconds to load the scans, without the import of libraries."""
    began = time.monotonic()
    train.cached_patches(run, dataset)
    return time.monotonic() - began


def _exit_with_parent() -> None:
    """End this process as soon as its parent has ended, which closes the pipe to stdin."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin: its lock would be held for ever in forked workers
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _exit_with_parent()
    sys.exit(main(Path(sys.argv[1])))
