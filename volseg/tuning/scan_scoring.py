"""Predicted scans scored by several processes within a time, and their scores added up by case."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from volseg import console
from volseg.data.dataset import Sample
from volseg.errors import UserError
from volseg.evaluation.bootstrap import FiniteSums
from volseg.formatting import natural_key
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.system import hardware, processes


class ScanToScore(Protocol):
    """A scan of the dataset, with whatever was predicted of it."""

    @property
    def sample(self) -> Sample:
        """The scan."""


@dataclass(frozen=True)
class PredictedScan:
    """A scan and its predicted probabilities."""

    sample: Sample
    maps: ProbabilityMaps


Scan = TypeVar("Scan", bound=ScanToScore)
Scores = TypeVar("Scores")


def case_names(scans: Iterable[ScanToScore]) -> list[str]:
    """The scans' cases in natural order."""
    return sorted({scan.sample.case for scan in scans}, key=natural_key)


def scans_in_time(
    scans: Sequence[Scan], score: Callable[[Scan], object], *, until: float, rounds: float
) -> list[Scan]:
    """As many scans as time is left for, by the time that scoring takes on one; first days come first.

    `until` is a time of `time.monotonic`; all scoring takes so many `rounds` of this one.
    """
    begun = time.monotonic()
    score(scans[0])
    now = time.monotonic()
    most = int((until - now) * hardware.available_cores() / (rounds * (now - begun)))
    cases = [scan.sample.case for scan in scans]
    days = [cases[:number].count(case) for number, case in enumerate(cases)]
    by_day = sorted(range(len(days)), key=days.__getitem__)
    return [scans[number] for number in sorted(by_day[:most])]


def score_scans(
    scans: Sequence[Scan], score: Callable[[Scan], Scores | str], *, until: float, what: str
) -> list[Scores] | None:
    """The scores of each scan, several processes sharing them; None if the time is over.

    Raises:
        UserError: the problem of a scan's files, which is the outcome in place of scores, or a process that
            was killed.
    """
    found: dict[int, Scores] = {}
    killed = "the process that tried steps on it was killed (out of memory?)"
    work = processes.map_unordered(
        score, scans, workers=hardware.available_cores(), died=lambda scan: f"{scan.sample.name}: {killed}"
    )
    with console.progress_bar(f"trying {what}") as report, closing(work):
        for position, outcome in work:
            if isinstance(outcome, str):
                raise UserError(outcome)
            found[position] = outcome
            report(len(found), len(scans), scans[position].sample.name)
            if time.monotonic() > until and len(found) < len(scans):
                return None
    return [found[number] for number in range(len(scans))]


def sum_by_case(scans: Sequence[ScanToScore], sums: Sequence[FiniteSums]) -> FiniteSums:
    """The sums of scans added up over those of each case, (cases, C), in the order of `case_names`."""
    rows = {case: number for number, case in enumerate(case_names(scans))}
    row_of_scan = np.array([rows[scan.sample.case] for scan in scans])
    belongs = (np.arange(len(rows))[:, None] == row_of_scan).astype(float)
    return FiniteSums.of_cases(sums).resampled(belongs)
