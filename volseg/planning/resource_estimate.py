"""What a training will take, told before it begins: seconds and memory from a few of its real steps."""

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
from volseg.planning.trial_training import FOUND, MISTAKE, ORDER, TrialMeasurements, TrialOrder
from volseg.runs.run_files import RunSplits
from volseg.schema import Spacing
from volseg.system.files import write_text
from volseg.system.hardware import available_cores, free_memory, spin_briefly
from volseg.training import train
from volseg.training.loading.scan_cache import SHARE, packed_bytes

EVERY = 0.2
"""Seconds between two looks at a trial's memory."""


class TrialTooLargeError(Exception):
    """A trial that took more memory than it may, or than there is."""


@dataclass(frozen=True)
class TrialScans:
    """The scans of a training: how many there are of each set, their voxels, and bytes in the cache.

    `tried` are those of a trial: so much smaller than the whole that it soon begins, and such that
    its peak is that of the largest scans.
    """

    facts: RunSplits
    tried: RunSplits
    scan: str
    voxels: "TrialAndTotal"
    validated: "TrialAndTotal"
    cached: "TrialAndTotal"


@dataclass(frozen=True)
class TrialAndTotal:
    """A quantity of the scans that a trial takes, and of all."""

    tried: int
    all: int

    @property
    def ratio(self) -> float:
        """By how much the whole is more."""
        return self.all / self.tried if self.tried else 0.0


@dataclass(frozen=True)
class ResourceEstimate:
    """Seconds and bytes of memory that a training will take.

    `together` is the trial's peak over all processes: memory that several share is counted once.
    """

    config: Config
    scans: TrialScans
    measurements: TrialMeasurements
    workers: int
    process_tree_peak: int

    @property
    def peak_memory(self) -> int:
        """Bytes at the peak over all processes: the trial's, and the scans that it did without.

        What all hold together is looked at five times a second, so a short peak of the training
        process may be missed there; its own counter does not miss it.
        """
        tried = max(self.measurements.memory, self.process_tree_peak)
        return tried + self.scans.cached.all - self.scans.cached.tried

    @property
    def budgeted_memory(self) -> int:
        """Bytes of the memory that a patch has to fit into: the GPU's where there is one."""
        return self.peak_memory if self.measurements.gpu_memory is None else self.measurements.gpu_memory

    @property
    def start_seconds(self) -> float:
        """Seconds before the first step: libraries aside, that scans take to load."""
        return self.measurements.loading_seconds * max(1.0, self.scans.voxels.ratio)

    @property
    def validation_seconds(self) -> float:
        """Seconds that each epoch takes for its validation and checkpoint."""
        validation = self.measurements.validation_seconds * self.scans.validated.ratio
        return validation + self.measurements.saving_seconds

    @property
    def epoch_seconds(self) -> float:
        """Seconds of an epoch, validation and checkpoint included."""
        return self.config.train.epoch_steps * self.measurements.step_seconds + self.validation_seconds

    @property
    def run_seconds(self) -> float:
        """Seconds of all steps and epochs."""
        course = self.config.train
        epochs = math.ceil(course.steps / course.epoch_steps)
        steps = course.steps * self.measurements.step_seconds
        return self.start_seconds + steps + epochs * self.validation_seconds

    @property
    def patch_coverage(self) -> float:
        """The share of a scan of usual size that a patch covers."""
        sizes = zip(self.config.train.patch, self.measurements.shape, strict=True)
        return math.prod(min(patch, n) / n for patch, n in sizes)


def estimate_resources(
    config: Config, data: Path, *, fold: Fold = 0, limit: int | None = None
) -> ResourceEstimate:
    """Try a config on some scans of the dataset, in a fresh process and a folder that is removed.

    Raises:
        UserError: what training would refuse.
        TooLargeError: it took more than `limit` bytes of memory, or than the machine has.
    """
    dataset, facts = train.load_and_split(config, data, fold)
    scans = _select_scans(config, {sample.name: sample for sample in dataset.samples}, facts)
    order = TrialOrder(config=config, data=data.resolve(), facts=scans.tried, scan=scans.scan)
    with tempfile.TemporaryDirectory(prefix="volseg-") as folder:
        found, workers, together = _measure_trial(Path(folder), order, limit)
    return ResourceEstimate(config, scans, found, workers, together)


def _select_scans(config: Config, known: dict[str, Sample], facts: RunSplits) -> TrialScans:
    """What to try: the largest training scans, as many as are loaded at once, and one in the middle."""
    spacing = config.data.spacing_mm

    def size(*names: str) -> int:
        return sum(_voxel_count(known[name], spacing) for name in names)

    def cached(names: Sequence[str]) -> int:
        samples = [known[name] for name in names]
        return min(packed_bytes(samples, config.data), int(SHARE * free_memory()))

    seen = sorted(facts.train, key=size)
    apart = sorted([*facts.unseen_cases, *facts.later_days], key=size)
    middle = seen[len(seen) // 2]
    train = tuple(dict.fromkeys([*seen[-available_cores() :], middle]))
    unseen = tuple(dict.fromkeys([apart[-1], apart[len(apart) // 2]] if apart else []))
    update = {"train": train, "unseen_cases": unseen, "later_days": (), "hold_out": ()}
    return TrialScans(
        facts=facts,
        tried=facts.model_copy(update=update),
        scan=middle,
        voxels=TrialAndTotal(size(*train), size(*seen)),
        validated=TrialAndTotal(size(*unseen), size(*apart)),
        cached=TrialAndTotal(cached(train), cached(seen)),
    )


def _voxel_count(sample: Sample, spacing_mm: Spacing | None) -> int:
    """Voxels of a scan, as it is stored or on the network's grid, whichever are more."""
    native_mm3 = math.prod(sample.spacing_mm)
    finer = native_mm3 / math.prod(spacing_mm or sample.spacing_mm)
    return round(math.prod(sample.shape) * max(1.0, finer))


def _measure_trial(folder: Path, order: TrialOrder, limit: int | None) -> tuple[TrialMeasurements, int, int]:
    """What a trial found; and how many workers it had and what all held together, by looking on."""
    write_text(folder / ORDER, order.model_dump_json())
    spin_briefly()
    with (folder / "log.txt").open("wb") as log:
        child = psutil.Popen(
            [sys.executable, "-m", "volseg.planning.trial_training", str(folder)],
            stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            workers, together = _monitor_memory(child, limit)
        finally:
            _kill_processes(child)
    if (folder / FOUND).is_file():
        return (TrialMeasurements.model_validate_json((folder / FOUND).read_bytes()), workers, together)
    if (folder / MISTAKE).is_file():
        raise UserError((folder / MISTAKE).read_text(encoding="utf-8"))
    told = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    if child.returncode == -9 or "OutOfMemoryError" in told or "can't allocate memory" in told:
        raise TrialTooLargeError
    raise RuntimeError(told)


def _monitor_memory(child: psutil.Popen, limit: int | None) -> tuple[int, int]:
    """Look on until a process ends: the most workers it had, and the most bytes all held together.

    Raises:
        TooLargeError: they hold more than the limit.
    """
    most, highest = 0, 0
    while child.poll() is None:
        with suppress(psutil.Error):  # one of them has just ended
            workers = child.children(recursive=True)
            held = sum(proportional_memory(process) for process in (child, *workers))
            most, highest = max(most, len(workers)), max(highest, held)
            if limit is not None and held > limit:
                raise TrialTooLargeError
        time.sleep(EVERY)
    return most, highest


def proportional_memory(process: psutil.Process) -> int:
    """Bytes that a process holds, and its part of those that it shares (where the system tells them)."""
    held = process.memory_full_info()
    return int(getattr(held, "pss", held.uss))


def _kill_processes(child: psutil.Popen) -> None:
    """End a trial and its workers, if they still run."""
    if child.poll() is None:
        workers = child.children(recursive=True)
        for process in (child, *workers):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        child.wait()
