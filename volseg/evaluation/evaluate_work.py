"""Scoring as work on a cohort: by processes of this machine, or by workers of others."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.evaluation.scan_scores import ScanFilePair, ScanScores, score_scan
from volseg.system import processes

KILLED = "the process that scored it was killed (out of memory?)"
Outcome = ScanScores | str
"""The scores of a scan, or the problems of its files, one a line."""


@dataclass(frozen=True)
class EvaluateWork:
    """The scores of scans; here by so many processes."""

    workers: int
    folders: tuple[Path, ...] = ()
    label: str = "evaluating"
    at_once: int = 1
    cores: int | None = 1
    on_gpu: bool = False
    memory: int = 0

    def name(self, item: ScanFilePair) -> str:
        """The scan's name."""
        return item.origin.scan

    def cost(self, item: ScanFilePair) -> int:
        """The voxels of a slice, where the name of its size tells them."""
        return math.prod(map(int, item.origin.matrix.split("x"))) if item.origin.matrix else 0

    def problem(self, result: Outcome) -> str:
        """What is wrong with its files, or ''."""
        return result if isinstance(result, str) else ""

    def here(
        self, items: Sequence[ScanFilePair], begun: Callable[[ScanFilePair], None]
    ) -> Iterator[tuple[int, Outcome]]:
        """The scans by processes of this machine."""
        return processes.map_unordered(
            score_scan, items, workers=self.workers, died=lambda item: self.lost(item, KILLED, 1), begun=begun
        )

    def open(self, max_memory: int | None) -> "EvaluateWorker":  # noqa: ARG002
        """A worker, which needs to load nothing and keeps to no limit of memory."""
        return EvaluateWorker()

    def lost(self, item: ScanFilePair, reason: str, attempts: int) -> Outcome:  # noqa: ARG002
        """What is told of a scan whose workers died."""
        return f"{item.origin.scan}: {reason}"


@dataclass(frozen=True)
class EvaluateWorker:
    """A worker of another machine."""

    max_memory: int = 0

    def __call__(self, item: ScanFilePair, attempt: int) -> Outcome:  # noqa: ARG002
        """Score one scan; nothing is written."""
        return score_scan(item)


def folders_of(pairs: Sequence[ScanFilePair]) -> tuple[Path, ...]:
    """The folders of the first scan's masks and labels, which each machine is to see."""
    files = [
        mask.path for pair in pairs[:1] for masks in (pair.labels, pair.prediction) for mask in masks.values()
    ]
    return tuple(dict.fromkeys(path.parent.resolve() for path in files))
