"""Scores of many scans: their means, kept apart by what training saw."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from volseg.evaluation.intervals import Intervals, intervals
from volseg.evaluation.scan_scores import GROUPS, LABELLED, Row, ScanScores
from volseg.formatting import natural
from volseg.metrics import DEFAULT, Metric, kaggle_score

By = Literal["case", "day", "matrix"]
MISSED = "_missed"  # HD_missed: scans where one mask is empty, so that HD is infinite
METRICS = {metric.label: metric for metric in DEFAULT}


@dataclass(frozen=True)
class Summary:
    """Means over a group of scans and their intervals; see `means` for how empty masks count."""

    name: str
    scans: tuple[str, ...]
    mean: Mapping[str, Mapping[str, float]]
    foreground_mean: Mapping[str, float]
    kaggle: kaggle_score.Score
    intervals: Intervals

    @property
    def line(self) -> str:
        """`Dice 0.848 [0.810, 0.880], Kaggle 0.861 [0.835, 0.884], 12 cases`."""
        dice, score = self.intervals.foreground_mean["Dice"], self.intervals.kaggle
        separator = "," if dice.known else ";"
        return f"Dice {dice.text()}, Kaggle {score.text()}{separator} {dice.basis}"


@dataclass(frozen=True)
class Scores:
    """The scores of all scans, and the runs that made the masks.

    `skipped` and `failed` say for a scan why it has no scores.
    """

    scans: tuple[ScanScores, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[str, ...] = ()

    @property
    def rows(self) -> list[Row]:
        """The lines of scores.csv."""
        return [
            Row(one.scan, organ, metric, value)
            for one in self.scans
            for organ, values in one.values.items()
            for metric, value in values.items()
        ]

    @cached_property
    def groups(self) -> dict[str, Summary]:
        """A summary for each group that has scans."""
        found = {
            name: [one for one in self.scans if one.seen == seen] for seen, name in GROUPS.items()
        }
        return {name: summarise(name, scans) for name, scans in found.items() if scans}

    @cached_property
    def by_run(self) -> dict[str, Summary]:
        """Where several runs made the masks, such as those of five folds, a summary of each one's."""
        found = {run: [one for one in self.scans if one.run == run] for run in sorted(self.runs)}
        several = len(self.runs) > 1
        return {run: summarise(run, scans) for run, scans in found.items() if several and scans}

    @property
    def telling(self) -> list[ScanScores]:
        """The scans that training did not see; the seen ones only if there are no others."""
        return [one for one in self.scans if one.seen != "scan"] or list(self.scans)

    @cached_property
    def headline(self) -> Summary:
        """Over the telling scans."""
        scans = self.telling
        return summarise(GROUPS["scan"] if scans[0].seen == "scan" else "unseen scans", scans)

    def by(self, what: By) -> dict[str, Summary]:
        """The telling scans by case, by day (the first, second ... of a case) or by matrix size."""
        found: dict[str, list[ScanScores]] = {}
        for one in sorted(self.telling, key=lambda one: natural(_KEYS[what](one))):
            found.setdefault(_KEYS[what](one), []).append(one)
        return {name: summarise(name, scans) for name, scans in found.items()}


_KEYS: dict[By, Callable[[ScanScores], str]] = {
    "case": lambda one: one.case,
    "day": lambda one: str(one.day),
    "matrix": lambda one: one.matrix,
}


def summarise(name: str, scans: Sequence[ScanScores]) -> Summary:
    """The means over some scans, at least one."""
    mean = {
        organ: means(scan.values[organ] for scan in scans) for organ in next(iter(scans)).values
    }
    return Summary(
        name,
        tuple(scan.scan for scan in scans),
        mean,
        _over_classes(mean),
        kaggle_score.score(scan.part for scan in scans),
        intervals(scans),
    )


def means(table: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over scans.

    NaN (nothing to measure) is left out. Infinite values (one mask empty) can't be averaged: the mean
    is over the finite ones, and the number of the others stands beside it, as `HD_missed`.
    """
    rows = list(table)
    found: dict[str, float] = {}
    for metric in rows[0]:
        values = [row[metric] for row in rows]
        found[metric] = _mean(value for value in values if math.isfinite(value))
        if metric_of(metric).unbounded:
            found[metric + MISSED] = sum(map(math.isinf, values))
    return found


def _over_classes(mean: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean of the classes' means, and the sum of what they missed."""
    metrics = next(iter(mean.values()))
    columns = {metric: [values[metric] for values in mean.values()] for metric in metrics}
    return {
        metric: sum(column)
        if metric.endswith(MISSED)
        else _mean(value for value in column if math.isfinite(value))
        for metric, column in columns.items()
    }


def metric_of(name: str) -> Metric:
    """The metric behind a name in scores.csv."""
    return METRICS[name.removesuffix(LABELLED)]


def _mean(values: Iterable[float]) -> float:
    finite = list(values)
    return sum(finite) / len(finite) if finite else math.nan


COLUMNS = {  # what people look at first; scores.csv and summary.json have all
    "Dice": "Dice",
    "HD": "HD\nmm",
    "HD95": "HD95\nmm",
    "NSD2": "NSD\n2 mm",
    "NSD3": "NSD\n3 mm",
    "APL_mm": "APL\nmm",
    "truth_ml": "true\nml",
    "volume_difference_ml": "off by\nml",
    "Dice_labelled": "Dice*",
    "HD95_labelled": "HD95*\nmm",
}
