"""Preparation as work on a cohort: by processes of this machine, or by workers of others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from volseg.data.layouts.raw_dataset import RawScan
from volseg.preparation import scan_writer
from volseg.preparation.scan_writer import ScanOutcome, WritePlan
from volseg.system import processes


@dataclass(frozen=True)
class PrepareWork:
    """The writing, or the mere check, of scans; here by so many processes."""

    plan: WritePlan
    workers: int
    check: bool = False
    at_once: int = 1
    cores: int | None = 1
    on_gpu: bool = False
    memory: int = 0
    folders: tuple[Path, ...] = ()

    @property
    def label(self) -> str:
        """What it is called."""
        return "checking" if self.check else "preparing"

    @property
    def task(self) -> Callable[[RawScan], ScanOutcome]:
        """What is done to a scan."""
        return partial(scan_writer.check if self.check else scan_writer.write, plan=self.plan)

    def name(self, item: RawScan) -> str:
        """The scan's name."""
        return item.name

    def cost(self, item: RawScan) -> int:
        """The number of its slices, where they are files."""
        return len(item.numbers)

    def problem(self, result: ScanOutcome) -> str:
        """The first error of a scan that can't be used, or ''."""
        errors = (finding.message for finding in result.findings if finding.severity == "error")
        return "" if result.record else next(errors, "")

    def here(
        self, items: Sequence[RawScan], begun: Callable[[RawScan], None]
    ) -> Iterator[tuple[int, ScanOutcome]]:
        """The scans by processes of this machine."""
        died = scan_writer.killed_outcome
        return processes.map_unordered(self.task, items, workers=self.workers, died=died, begun=begun)

    def open(self, max_memory: int | None) -> "PrepareWorker":  # noqa: ARG002
        """A worker, which needs to load nothing and keeps to no limit of memory."""
        return PrepareWorker(self)

    def lost(self, item: RawScan, reason: str, attempts: int) -> ScanOutcome:
        """The outcome of a scan whose workers died."""
        return scan_writer.lost_outcome(item, f"{reason}; {attempts} workers died over it")


@dataclass(frozen=True)
class PrepareWorker:
    """A worker of another machine."""

    work: PrepareWork
    max_memory: int = 0

    def __call__(self, item: RawScan, attempt: int) -> ScanOutcome:
        """Prepare one scan, unless the worker before, which was thought lost, has done so."""
        again = attempt > 1 and not self.work.check
        done = scan_writer.unchanged_outcome(item, plan=self.work.plan) if again else None
        return done._replace(unchanged=False) if done else self.work.task(item)
