"""Scores of many scans: their means, kept apart by what training saw."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from volseg.evaluation.intervals import ScoreIntervals, estimate_intervals
from volseg.evaluation.scan_scores import GROUPS, LABELLED, ScanScores, ScoreRow
from volseg.formatting import natural_key
from volseg.metrics import DEFAULT, Metric, kaggle_score

By = Literal["case", "day", "matrix"]
MISSED = "_missed"  # HD_missed: scans where one mask is empty, so that HD is infinite
METRICS = {metric.column_name: metric for metric in DEFAULT}


@dataclass(frozen=True)
class GroupSummary:
    """Means over a group of scans and their intervals; see `means` for how empty masks count."""

    name: str
    scans: tuple[str, ...]
    mean: Mapping[str, Mapping[str, float]]
    foreground_mean: Mapping[str, float]
    kaggle: kaggle_score.KaggleScore
    intervals: ScoreIntervals

    @property
    def line(self) -> str:
        """`Dice 0.848 [0.810, 0.880], Kaggle 0.861 [0.835, 0.884], 12 cases`."""
        dice, score = self.intervals.foreground_mean["Dice"], self.intervals.kaggle
        separator = "," if dice.has_interval else ";"
        return f"Dice {dice.to_text()}, Kaggle {score.to_text()}{separator} {dice.interval_basis}"


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
    def rows(self) -> list[ScoreRow]:
        """The lines of scores.csv."""
        return [
            ScoreRow(one.scan, organ, metric, value)
            for one in self.scans
            for organ, values in one.values.items()
            for metric, value in values.items()
        ]

    @cached_property
    def groups(self) -> dict[str, GroupSummary]:
        """A summary for each group that has scans."""
        found = {name: [one for one in self.scans if one.seen == seen] for seen, name in GROUPS.items()}
        return {name: summarise_scans(name, scans) for name, scans in found.items() if scans}

    @cached_property
    def by_run(self) -> dict[str, GroupSummary]:
        """Where several runs made the masks, such as those of five folds, a summary of each one's."""
        found = {run: [one for one in self.scans if one.run == run] for run in sorted(self.runs)}
        several = len(self.runs) > 1
        return {run: summarise_scans(run, scans) for run, scans in found.items() if several and scans}

    @property
    def unseen_or_all(self) -> list[ScanScores]:
        """The scans that training did not see; the seen ones only if there are no others."""
        return [one for one in self.scans if one.seen != "scan"] or list(self.scans)

    @cached_property
    def headline(self) -> GroupSummary:
        """Over the telling scans."""
        scans = self.unseen_or_all
        return summarise_scans(GROUPS["scan"] if scans[0].seen == "scan" else "unseen scans", scans)

    def summaries_by(self, what: By) -> dict[str, GroupSummary]:
        """The telling scans by case, by day (the first, second ... of a case) or by matrix size."""
        found: dict[str, list[ScanScores]] = {}
        for one in sorted(self.unseen_or_all, key=lambda one: natural_key(_KEYS[what](one))):
            found.setdefault(_KEYS[what](one), []).append(one)
        return {name: summarise_scans(name, scans) for name, scans in found.items()}


_KEYS: dict[By, Callable[[ScanScores], str]] = {
    "case": lambda one: one.case,
    "day": lambda one: str(one.day),
    "matrix": lambda one: one.matrix,
}


def summarise_scans(name: str, scans: Sequence[ScanScores]) -> GroupSummary:
    """The means over some scans, at least one."""
    mean = {organ: metric_means(scan.values[organ] for scan in scans) for organ in next(iter(scans)).values}
    return GroupSummary(
        name,
        tuple(scan.scan for scan in scans),
        mean,
        _mean_over_classes(mean),
        kaggle_score.score_scans(scan.part for scan in scans),
        estimate_intervals(scans),
    )


def metric_means(table: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over scans.

    NaN (nothing to measure) is left out. Infinite values (one mask empty) can't be averaged: the mean
    is over the finite ones, and the number of the others stands beside it, as `HD_missed`.
    """
    rows = list(table)
    found: dict[str, float] = {}
    for metric in rows[0]:
        values = [row[metric] for row in rows]
        found[metric] = _finite_mean(value for value in values if math.isfinite(value))
        if metric_of(metric).unbounded:
            found[metric + MISSED] = sum(map(math.isinf, values))
    return found


def _mean_over_classes(mean: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean of the classes' means, and the sum of what they missed."""
    metrics = next(iter(mean.values()))
    columns = {metric: [values[metric] for values in mean.values()] for metric in metrics}
    return {
        metric: sum(column)
        if metric.endswith(MISSED)
        else _finite_mean(value for value in column if math.isfinite(value))
        for metric, column in columns.items()
    }


def metric_of(name: str) -> Metric:
    """The metric behind a name in scores.csv."""
    return METRICS[name.removesuffix(LABELLED)]


def _finite_mean(values: Iterable[float]) -> float:
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
