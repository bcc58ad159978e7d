"""An estimate of the time and memory of a training, measured in a trial of a few steps."""

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from volseg.arguments import Fold
from volseg.config.config import Config
from volseg.data.dataset import Sample
from volseg.errors import UserError
from volseg.model.engines.device_selection import find_device, warn_of_unused_gpu
from volseg.planning.trial_training import BUSY, ORDER, OUTCOME, TrialMeasurements, TrialOrder, TrialOutcome
from volseg.runs.run_files import RunSplits
from volseg.schema import Spacing
from volseg.system.files import write_text
from volseg.system.hardware import available_cores, free_memory, spin_briefly
from volseg.training import train
from volseg.training.loading.scan_cache import SHARE, packed_bytes
from volseg.training.teacher import maps_of
from volseg.training.validation_schedule import expected_epoch_steps

EVERY = 0.2  # seconds between two measurements of a trial's memory


class TrialTooLargeError(Exception):
    """A trial that took more memory than its limit, or than the machine has."""


class TrialTooSlowError(Exception):
    """A trial that was ended as it took longer than it may, and how long it had the processor meanwhile."""

    def __init__(self, processor_seconds: float = math.inf) -> None:
        super().__init__()
        self.processor_seconds = processor_seconds

    def busy_text(self, seconds: float) -> str:
        """How little of so many seconds it had the processor, where other programs use a CPU; else ''."""
        if self.processor_seconds >= BUSY * seconds:
            return ""
        return f"a trial of {seconds:.0f} s had the processor for {self.processor_seconds:.0f} s"


@dataclass(frozen=True)
class TrialAndTotal:
    """A sum over the scans of a trial, and over all scans of the training."""

    tried: int
    all: int

    @property
    def ratio(self) -> float:
        """The total as a multiple of the trial's."""
        return self.all / self.tried if self.tried else 0.0


@dataclass(frozen=True)
class TrialScans:
    """The scans of a training and of its trial: their sets, voxels, and bytes in the cache and packed.

    `facts` are the sets of the training; `tried` those of the trial, which has the largest scans, so that
    its peak of memory is theirs, and few of them, so that it soon begins. `scan` is of a usual size.
    """

    facts: RunSplits
    tried: RunSplits
    scan: str
    voxels: TrialAndTotal
    validated: TrialAndTotal
    cached: TrialAndTotal
    packed: TrialAndTotal


@dataclass(frozen=True)
class ResourceEstimate:
    """Seconds and bytes of memory that a training will take.

    `process_tree_peak` is the trial's peak over all processes: memory that several share is counted once.
    """

    config: Config
    scans: TrialScans
    measurements: TrialMeasurements
    process_tree_peak: int

    @property
    def is_forecast(self) -> bool:
        """Whether nothing was measured, main memory neither, as the GPU isn't here."""
        return not self.measurements.memory

    @property
    def peak_memory(self) -> int:
        """Bytes at the peak over all processes: the trial's, and the scans that it left out.

        All processes are measured five times a second, which may miss a short peak of the training
        process; its own counter does not.
        """
        trial_peak = max(self.measurements.memory, self.process_tree_peak)
        return trial_peak + self.scans.cached.all - self.scans.cached.tried

    @property
    def gpu_memory(self) -> int | None:
        """Bytes of a GPU at the peak: the trial's, and the scans that it left out; None without a GPU.

        Packed scans lie on a GPU where it has room for all of them.
        """
        trial_peak, packed, room = self.measurements.gpu_memory, self.scans.packed, self.measurements.gpu_room
        if trial_peak is None:
            return None
        tried, all_scans = (size if size <= room else 0 for size in (packed.tried, packed.all))
        return trial_peak + all_scans - tried

    @property
    def budgeted_memory(self) -> int:
        """Bytes of the memory that limits a patch: the GPU's where there is one."""
        return self.peak_memory if self.gpu_memory is None else self.gpu_memory

    @property
    def start_seconds(self) -> float:
        """Seconds before the first step: of loading the scans, not the libraries."""
        return self.measurements.loading_seconds * max(1.0, self.scans.voxels.ratio)

    @property
    def validation_seconds(self) -> float:
        """Seconds of an epoch's validation and checkpoint."""
        validation = self.measurements.validation_seconds * self.scans.validated.ratio
        return validation + self.measurements.saving_seconds

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch: those of the config, or about as many as training will choose."""
        step = self.measurements.step_seconds
        return expected_epoch_steps(self.config.train, step, self.validation_seconds)

    @property
    def epoch_seconds(self) -> float:
        """Seconds of an epoch, validation and checkpoint included."""
        return self.epoch_steps * self.measurements.step_seconds + self.validation_seconds

    @property
    def run_seconds(self) -> float:
        """Seconds of all steps and epochs."""
        steps = self.config.train.steps
        epochs = math.ceil(steps / self.epoch_steps)
        return self.start_seconds + steps * self.measurements.step_seconds + epochs * self.validation_seconds

    @property
    def patch_coverage(self) -> float:
        """The share of a scan of usual size that a patch covers."""
        sizes = zip(self.config.train.patch, self.measurements.shape, strict=True)
        return math.prod(min(patch, n) / n for patch, n in sizes)


def estimate_resources(
    config: Config,
    data: Path,
    *,
    fold: Fold = 0,
    device: str | None = None,
    limit: int | None = None,
    seconds: float | None = None,
) -> ResourceEstimate:
    """Try a config on some scans of the dataset, in a fresh process and a temporary folder.

    `device` is the name of that to try it on; by default a GPU if there is one.

    Raises:
        UserError: what training would refuse.
        TrialTooLargeError: the trial took more than `limit` bytes of memory, or than the machine has.
        TrialTooSlowError: it took more than `seconds`.
    """
    find_device(device)  # a wrong one is told before anything takes time
    warn_of_unused_gpu(device)
    dataset, facts = train.load_and_split(config, data, fold)
    scans = select_scans(config, {sample.name: sample for sample in dataset.samples}, facts)
    order = TrialOrder(config=config, data=data.resolve(), facts=scans.tried, scan=scans.scan, device=device)
    with tempfile.TemporaryDirectory(prefix="volseg-") as folder:
        return ResourceEstimate(config, scans, *_measure_trial(Path(folder), order, limit, seconds))


def select_scans(config: Config, known: dict[str, Sample], facts: RunSplits) -> TrialScans:
    """The scans to try: the largest of the training, as many as are loaded at once, and the median one."""
    spacing = config.data.spacing_mm

    def size(*names: str) -> int:
        return sum(_voxel_count(known[name], spacing) for name in names)

    teacher = maps_of(config, facts)

    def packed(names: Sequence[str]) -> int:
        return packed_bytes([known[name] for name in names], config.data, teacher)

    training = sorted([*facts.train, *facts.taught], key=size)
    validation = sorted([*facts.unseen_cases, *facts.later_days], key=size)
    median = training[len(training) // 2]
    train = tuple(dict.fromkeys([*training[-available_cores() :], median]))
    unseen = tuple(dict.fromkeys([validation[-1], validation[len(validation) // 2]] if validation else []))
    room = int(SHARE * free_memory())
    labelled, taught = (tuple(name for name in train if name in part) for part in (facts.train, facts.taught))
    update = {"train": labelled, "taught": taught, "unseen_cases": unseen, "later_days": (), "hold_out": ()}
    return TrialScans(
        facts=facts,
        tried=facts.model_copy(update=update),
        scan=median,
        voxels=TrialAndTotal(size(*train), size(*training)),
        validated=TrialAndTotal(size(*unseen), size(*validation)),
        cached=TrialAndTotal(min(room, packed(train)), min(room, packed(training))),
        packed=TrialAndTotal(packed(train), packed(training)),
    )


def _voxel_count(sample: Sample, spacing_mm: Spacing | None) -> int:
    """Voxels of a scan on its own grid or on the network's, whichever are more."""
    native_mm3 = math.prod(sample.spacing_mm)
    finer = native_mm3 / math.prod(spacing_mm or sample.spacing_mm)
    return round(math.prod(sample.shape) * max(1.0, finer))


def _measure_trial(
    folder: Path, order: TrialOrder, limit: int | None, seconds: float | None
) -> tuple[TrialMeasurements, int]:
    """A trial's measurements, and the peak of memory over all its processes."""
    write_text(folder / ORDER, order.model_dump_json())
    spin_briefly()
    with (folder / "log.txt").open("wb") as log:
        child = psutil.Popen(
            [sys.executable, "-m", "volseg.planning.trial_training", str(folder)],
            stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            peak = _monitor_trial(child, limit, seconds)
        finally:
            _kill_processes(child)
    if not (folder / OUTCOME).is_file():
        if child.returncode == -9:  # killed by the system, as its memory ran out
            raise TrialTooLargeError
        raise RuntimeError((folder / "log.txt").read_text(encoding="utf-8", errors="replace"))
    outcome = TrialOutcome.model_validate_json((folder / OUTCOME).read_bytes())
    if outcome.out_of_memory:
        raise TrialTooLargeError
    if outcome.measurements is None:
        raise UserError(outcome.mistake)
    return outcome.measurements, peak


def _monitor_trial(child: psutil.Popen, limit: int | None, seconds: float | None) -> int:
    """The most bytes that a process and its children have, until it ends.

    Raises:
        TrialTooLargeError: their memory is more than the limit.
        TrialTooSlowError: it has not ended after so many seconds.
    """
    peak, began = 0, time.monotonic()
    while child.poll() is None:
        if seconds is not None and time.monotonic() - began > seconds:
            raise TrialTooSlowError(sum(child.cpu_times()[:2]))
        with suppress(psutil.Error):  # one of them has just ended
            processes = (child, *child.children(recursive=True))
            memory = sum(proportional_memory(process) for process in processes)
            peak = max(peak, memory)
            if limit is not None and memory > limit:
                raise TrialTooLargeError
        time.sleep(EVERY)
    return peak


def proportional_memory(process: psutil.Process) -> int:
    """Bytes of a process, with its part of those that it shares (where the system counts them)."""
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.uss))


def _kill_processes(child: psutil.Popen) -> None:
    """End a trial and its children if they still run."""
    if child.poll() is None:
        for process in (child, *child.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        child.wait()
