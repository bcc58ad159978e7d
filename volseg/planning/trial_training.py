"""A few real steps of a training, in a process of their own so that its peak of memory can be told.

Run as `python -m volseg.planning.trial_training FOLDER`: it reads `order.json` there and leaves `found.json`, or
`mistake.txt` where the order itself is at fault.
"""

import os
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
from volseg.training.state import TrainingState
from volseg.training.step import Stepper
from volseg.training.stopping import TrainingClock
from volseg.training.validation import Validation

ORDER, FOUND, MISTAKE = "order.json", "found.json", "mistake.txt"
WARM_UP, FEWEST, MOST = 2, 3, 40
"""Steps that are not counted, and how many are counted at least and at most."""
SECONDS = 5.0
"""Steps are counted for about so long."""


class TrialOrder(Section):
    """What to try: a config on some scans of a prepared dataset, `scan` of a usual size."""

    config: Config
    data: Path
    facts: RunSplits
    scan: str


class TrialMeasurements(Section):
    """What a trial measured. `memory` is the peak of the main process, `gpu_memory` that of tensors.

    Seconds: of a step (waiting for data included), of the processor in it (of all threads), of loading
    the scans, of validating those kept apart, and of what follows that in each epoch. `shape` is the
    usual scan's on the network's grid.
    """

    device: str
    parameters: int
    shape: tuple[int, int, int]
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
        """What a step takes at most where nothing else is at work: its processor time, if that is less."""
        return self.step_seconds if self.gpu_memory else min(self.step_seconds, self.processor_seconds)


def main(folder: Path) -> int:
    """Do what the order in this folder says."""
    try:
        order = TrialOrder.model_validate_json((folder / ORDER).read_bytes())
        write_text(folder / FOUND, run_trial(order, folder / "run").model_dump_json())
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
    watch = TrialRecorder()
    loop.train_until_done(watch.attach_to(training))
    done, peak = time.monotonic(), peak_memory()
    (first, used_first), (last, used_last) = watch.steps[WARM_UP - 1], watch.steps[-1]
    steps = len(watch.steps) - WARM_UP
    return TrialMeasurements(
        device=str(training.stepper.device),
        parameters=sum(weights.numel() for weights in training.state.network.parameters()),
        shape=_grid_shape(dataset, order.scan, order.config),
        steps=steps,
        step_seconds=(last - first) / steps,
        processor_seconds=(used_last - used_first) / steps,
        loading_seconds=_loading_seconds(run, dataset),
        validation_seconds=watch.validated - last + watch.predicted * _extra_window_share(dataset, order),
        saving_seconds=done - watch.validated,
        memory=peak,
        gpu_memory=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    )


def _shortened_config(config: Config) -> Config:
    """One epoch of few steps, validated by windows that do not overlap; no scan is cached on disk.

    Overlapping ones take as much memory, and time in proportion to their number.
    """
    epoch = {"steps": WARM_UP + MOST, "epoch_steps": WARM_UP + MOST, "patience": None}
    update = {
        "data": config.data.model_copy(update={"cache": "memory"}),
        "train": config.train.model_copy(update=epoch),
        "inference": config.inference.model_copy(update={"overlap": 0.0}),
    }
    return config.model_copy(update=update)


def _extra_window_share(dataset: Dataset, order: TrialOrder) -> float:
    """By what share of their number the config has more windows than were used."""
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
    """When each step of a training and its validation ended, and the processor time until then.

    `predicted` are the seconds of validation in which the network was at work.
    """

    steps: list[tuple[float, float]] = field(default_factory=list)
    validated: float = 0.0
    predicted: float = 0.0

    def attach_to(self, training: Training) -> Training:
        """The training under this watch, which ends it when enough steps are done."""
        training.state.validated_network.register_forward_pre_hook(self._on_forward_begin)
        training.state.validated_network.register_forward_hook(self._on_forward_end)
        return replace(
            training,
            stepper=_RecordedStepper(**vars(training.stepper), watch=self),
            validation=_RecordedValidation(**vars(training.validation), watch=self),
            clock=_TrialClock(self),
        )

    def _on_forward_begin(self, network: nn.Module, *_: object) -> None:
        if not network.training:
            self.predicted -= time.monotonic()

    def _on_forward_end(self, network: nn.Module, *_: object) -> None:
        if not network.training:
            self.predicted += time.monotonic()


@dataclass(frozen=True, kw_only=True)
class _RecordedStepper(Stepper):
    watch: TrialRecorder

    def step(self, state: TrainingState, batch: dict[str, Any], rate: float) -> float:
        loss = super().step(state, batch, rate)
        if self.device.device.type == "cuda":
            torch.cuda.synchronize()
        self.watch.steps.append((time.monotonic(), time.process_time()))
        return loss


@dataclass(frozen=True, kw_only=True)
class _RecordedValidation(Validation):
    watch: TrialRecorder

    def scores(self, *args: Any) -> dict[str, float]:
        found = super().scores(*args)
        self.watch.validated = time.monotonic()
        return found


class _TrialClock(TrainingClock):
    def __init__(self, watch: TrialRecorder) -> None:
        super().__init__(SECONDS)
        self.watch = watch

    def share(self) -> float:
        ends = [end for end, _ in self.watch.steps]
        return float(len(ends) >= WARM_UP + FEWEST and ends[-1] - ends[WARM_UP - 1] > SECONDS)


def _loading_seconds(run: Run, dataset: Dataset) -> float:
    """Seconds to load the scans, once the libraries are at hand."""
    began = time.monotonic()
    train.cached_patches(run, dataset)
    return time.monotonic() - began


def _grid_shape(dataset: Dataset, name: str, config: Config) -> tuple[int, int, int]:
    """A scan's shape on the network's grid."""
    x, y, z = NetworkGrid.from_volume(
        dataset.image(dataset.select_samples(name)[0]), config.data.spacing_mm
    ).shape
    return x, y, z


def _exit_with_parent() -> None:
    """End as soon as whoever started this process is gone and so has closed the pipe to it."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin: its lock would be held for ever in forked workers
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _exit_with_parent()
    sys.exit(main(Path(sys.argv[1])))
