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
from volseg.planning.trial_training import MEASUREMENTS, MISTAKE, ORDER, TrialMeasurements, TrialOrder
from volseg.runs.run_files import RunSplits
from volseg.schema import Spacing
from volseg.system.files import write_text
from volseg.system.hardware import available_cores, free_memory, spin_briefly
from volseg.training import train
from volseg.training.loading.scan_cache import SHARE, packed_bytes

EVERY = 0.2  # seconds between two measurements of a trial's memory


class TrialTooLargeError(Exception):
    """A trial that took more memory than its limit, or than the machine has."""


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
    """The scans of a training and of its trial: their sets, voxels, and bytes in the cache.

    `facts` are the sets of the training; `tried` those of the trial, which has the largest scans, so that
    its peak of memory is theirs, and few of them, so that it soon begins. `scan` is of a usual size.
    """

    facts: RunSplits
    tried: RunSplits
    scan: str
    voxels: TrialAndTotal
    validated: TrialAndTotal
    cached: TrialAndTotal


@dataclass(frozen=True)
class ResourceEstimate:
    """Seconds and bytes of memory that a training will take.

    `process_tree_peak` is the trial's peak over all processes: memory that several share is counted once.
    """

    config: Config
    scans: TrialScans
    measurements: TrialMeasurements
    workers: int
    process_tree_peak: int

    @property
    def peak_memory(self) -> int:
        """Bytes at the peak over all processes: the trial's, and the scans that it left out.

        All processes are measured five times a second, which may miss a short peak of the training
        process; its own counter does not.
        """
        trial_peak = max(self.measurements.memory, self.process_tree_peak)
        return trial_peak + self.scans.cached.all - self.scans.cached.tried

    @property
    def budgeted_memory(self) -> int:
        """Bytes of the memory that limits a patch: the GPU's where there is one."""
        return self.peak_memory if self.measurements.gpu_memory is None else self.measurements.gpu_memory

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
    def epoch_seconds(self) -> float:
        """Seconds of an epoch, validation and checkpoint included."""
        return self.config.train.epoch_steps * self.measurements.step_seconds + self.validation_seconds

    @property
    def run_seconds(self) -> float:
        """Seconds of all steps and epochs."""
        settings = self.config.train
        epochs = math.ceil(settings.steps / settings.epoch_steps)
        steps = settings.steps * self.measurements.step_seconds
        return self.start_seconds + steps + epochs * self.validation_seconds

    @property
    def patch_coverage(self) -> float:
        """The share of a scan of usual size that a patch covers."""
        sizes = zip(self.config.train.patch, self.measurements.shape, strict=True)
        return math.prod(min(patch, n) / n for patch, n in sizes)


def estimate_resources(
    config: Config, data: Path, *, fold: Fold = 0, limit: int | None = None
) -> ResourceEstimate:
    """Try a config on some scans of the dataset, in a fresh process and a temporary folder.

    Raises:
        UserError: what training would refuse.
        TrialTooLargeError: the trial took more than `limit` bytes of memory, or than the machine has.
    """
    dataset, facts = train.load_and_split(config, data, fold)
    scans = _select_scans(config, {sample.name: sample for sample in dataset.samples}, facts)
    order = TrialOrder(config=config, data=data.resolve(), facts=scans.tried, scan=scans.scan)
    with tempfile.TemporaryDirectory(prefix="volseg-") as folder:
        return ResourceEstimate(config, scans, *_measure_trial(Path(folder), order, limit))


def _select_scans(config: Config, known: dict[str, Sample], facts: RunSplits) -> TrialScans:
    """The scans to try: the largest of the training, as many as are loaded at once, and the median one."""
    spacing = config.data.spacing_mm

    def size(*names: str) -> int:
        return sum(_voxel_count(known[name], spacing) for name in names)

    def cached(names: Sequence[str]) -> int:
        samples = [known[name] for name in names]
        return min(packed_bytes(samples, config.data), int(SHARE * free_memory()))

    training = sorted(facts.train, key=size)
    validation = sorted([*facts.unseen_cases, *facts.later_days], key=size)
    median = training[len(training) // 2]
    train = tuple(dict.fromkeys([*training[-available_cores() :], median]))
    unseen = tuple(dict.fromkeys([validation[-1], validation[len(validation) // 2]] if validation else []))
    update = {"train": train, "unseen_cases": unseen, "later_days": (), "hold_out": ()}
    return TrialScans(
        facts=facts,
        tried=facts.model_copy(update=update),
        scan=median,
        voxels=TrialAndTotal(size(*train), size(*training)),
        validated=TrialAndTotal(size(*unseen), size(*validation)),
        cached=TrialAndTotal(cached(train), cached(training)),
    )


def _voxel_count(sample: Sample, spacing_mm: Spacing | None) -> int:
    """Voxels of a scan on its own grid or on the network's, whichever are more."""
    native_mm3 = math.prod(sample.spacing_mm)
    finer = native_mm3 / math.prod(spacing_mm or sample.spacing_mm)
    return round(math.prod(sample.shape) * max(1.0, finer))


def _measure_trial(folder: Path, order: TrialOrder, limit: int | None) -> tuple[TrialMeasurements, int, int]:
    """A trial's measurements, its number of workers, and the peak of memory over all its processes."""
    write_text(folder / ORDER, order.model_dump_json())
    spin_briefly()
    with (folder / "log.txt").open("wb") as log:
        child = psutil.Popen(
            [sys.executable, "-m", "volseg.planning.trial_training", str(folder)],
            stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            workers, peak = _monitor_memory(child, limit)
        finally:
            _kill_processes(child)
    if (folder / MEASUREMENTS).is_file():
        measurements = (folder / MEASUREMENTS).read_bytes()
        return TrialMeasurements.model_validate_json(measurements), workers, peak
    if (folder / MISTAKE).is_file():
        raise UserError((folder / MISTAKE).read_text(encoding="utf-8"))
    text = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    if child.returncode == -9 or "OutOfMemoryError" in text or "can't allocate memory" in text:
        raise TrialTooLargeError
    raise RuntimeError(text)


def _monitor_memory(child: psutil.Popen, limit: int | None) -> tuple[int, int]:
    """The most workers and the most bytes that a process and its workers have, until it ends.

    Raises:
        TrialTooLargeError: their memory is more than the limit.
    """
    most_workers, peak = 0, 0
    while child.poll() is None:
        with suppress(psutil.Error):  # one of them has just ended
            workers = child.children(recursive=True)
            memory = sum(proportional_memory(process) for process in (child, *workers))
            most_workers, peak = max(most_workers, len(workers)), max(peak, memory)
            if limit is not None and memory > limit:
                raise TrialTooLargeError
        time.sleep(EVERY)
    return most_workers, peak


def proportional_memory(process: psutil.Process) -> int:
    """Bytes of a process, with its part of those that it shares (where the system counts them)."""
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.uss))


def _kill_processes(child: psutil.Popen) -> None:
    """End a trial and its workers if they still run."""
    if child.poll() is None:
        workers = child.children(recursive=True)
        for process in (child, *workers):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        child.wait()
