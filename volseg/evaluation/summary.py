"""Mean scores of many scans, by whether training saw them, by run, case, day and matrix size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from volseg.evaluation.intervals import ScoreIntervals, estimate_intervals
from volseg.evaluation.scan_scores import (
    CHOSE,
    GROUP_NAMES,
    GROUPS,
    LABELLED,
    ScanScores,
    group_scans,
    score_frame,
)
from volseg.formatting import natural_key
from volseg.metrics import all_metrics, kaggle_score, plugin_metrics
from volseg.metrics.metric import BaseMetric

if TYPE_CHECKING:
    from pandas import DataFrame

By = Literal["case", "day", "matrix"]
MISSED = "_missed"  # HD_missed: scans where one mask is empty, so that HD is infinite
COLUMNS = {  # of tables; scores.csv and summary.json have all metrics
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


@dataclass(frozen=True)
class GroupSummary:
    """Means over a group of scans and their intervals; see `metric_means` for how empty masks count.

    `competition` says whether its score is to be told, as all scans are of its data.
    """

    name: str
    scans: tuple[str, ...]
    mean: Mapping[str, Mapping[str, float]]
    foreground_mean: Mapping[str, float]
    kaggle: kaggle_score.KaggleScore
    intervals: ScoreIntervals
    competition: bool

    @property
    def line(self) -> str:
        """`Dice 0.848 [0.810, 0.880], Kaggle 0.861 [0.835, 0.884], 12 cases`; Kaggle of its data only."""
        dice = self.intervals.foreground_mean["Dice"]
        score = f", Kaggle {self.intervals.kaggle.to_text()}" if self.competition else ""
        return f"Dice {dice.to_text()}{score}{',' if dice.has_interval else ';'} {dice.interval_basis}"


@dataclass(frozen=True)
class Scores:
    """The scores of all scans, by scan the reasons why others have none, and the runs that predicted them.

    `notes` tell how the masks were taken.
    """

    scans: tuple[ScanScores, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_frame(self) -> "DataFrame":
        """Table with the columns scan, case, class, metric, value and seen; see `score_frame`."""
        return score_frame(self.scans)

    @cached_property
    def groups(self) -> dict[str, GroupSummary]:
        """A summary for each group of `GROUPS` that has scans."""
        groups = group_scans(self.scans, lambda scan: scan.group)
        return {name: summarise_scans(name, groups[name]) for name in GROUP_NAMES if name in groups}

    @cached_property
    def by_run(self) -> dict[str, GroupSummary]:
        """A summary for each run where several predicted the masks, such as those of five folds."""
        groups = group_scans(self.scans, lambda scan: scan.run) if len(self.runs) > 1 else {}
        return {run: summarise_scans(run, groups[run]) for run in sorted(self.runs) if run in groups}

    @property
    def unseen_or_all(self) -> list[ScanScores]:
        """The scans that training did not see; without any those of which that is unknown, else the seen."""
        unseen = [scan for scan in self.scans if scan.seen in ("none", "case")]
        return unseen or [scan for scan in self.scans if scan.seen == "unknown"] or list(self.scans)

    @cached_property
    def headline(self) -> GroupSummary:
        """The summary of `unseen_or_all`."""
        scans = self.unseen_or_all
        seen = scans[0].seen
        name = GROUPS[seen] if seen in ("scan", "unknown") else "unseen scans"
        chose = sum(scan.group.endswith(CHOSE) for scan in scans)
        some = f" ({chose} of {len(scans)} chose the weights)" if chose else ""
        return summarise_scans(name + (CHOSE if chose == len(scans) else some), scans)

    def summaries_by(self, key: By) -> dict[str, GroupSummary]:
        """Summaries of `unseen_or_all` by case, day (the first, second ... of a case) or matrix size."""
        groups = group_scans(self.unseen_or_all, lambda scan: str(getattr(scan, key)))
        return {name: summarise_scans(name, groups[name]) for name in sorted(groups, key=natural_key)}


def summarise_scans(name: str, scans: Sequence[ScanScores]) -> GroupSummary:
    """The means over at least one scan."""
    means = metric_means(score_frame(scans))
    over_classes = means.groupby("metric", sort=False).agg({"mean": "mean", "missed": "sum"})
    return GroupSummary(
        name,
        tuple(scan.scan for scan in scans),
        {str(of): _by_metric(rows.droplevel("class")) for of, rows in means.groupby("class", sort=False)},
        _by_metric(over_classes),
        kaggle_score.score_scans(scan.part for scan in scans),
        estimate_intervals(scans),
        all(scan.competition for scan in scans),
    )


def metric_means(scores: "DataFrame") -> "DataFrame":
    """The columns mean and missed by class and metric, over the scans of a `score_frame`.

    The mean is over finite values: NaN (nothing to measure) is left out, and infinite values (one mask
    empty) are counted in `missed`.
    """
    value = scores["value"]
    columns = scores.assign(mean=value.where(np.isfinite(value)), missed=np.isinf(value))
    return columns.groupby(["class", "metric"], sort=False).agg({"mean": "mean", "missed": "sum"})


def _by_metric(means: "DataFrame") -> dict[str, float]:
    """Means by metric; an unbounded one is followed by the number of its infinite values, `HD_missed`."""
    values: dict[str, float] = {}
    for metric, mean, missed in means.itertuples():
        values[metric] = mean
        if metric_of(metric).unbounded:
            values[metric + MISSED] = missed
    return values


def metric_of(name: str) -> BaseMetric:
    """The metric with a name of scores.csv."""
    return all_metrics()[name.removesuffix(LABELLED)]


def table_columns() -> dict[str, str]:
    """The metrics that tables show, with their headings: those of COLUMNS, and those of other packages."""
    return COLUMNS | {name: name.replace("_", "\n", 1) for name in plugin_metrics()}
