"""Scores of many scans: their means, kept apart by what training saw, as files and as a table."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from volseg.atomic import write_text
from volseg.masks import kaggle
from volseg.masks.kaggle import Part
from volseg.masks.metrics import DEFAULT, Metric

if TYPE_CHECKING:
    from rich.table import Table

Seen = Literal["scan", "case", "none"]
GROUPS: dict[Seen, str] = {
    "none": "unseen cases",
    "case": "later days of seen cases",
    "scan": "seen scans",
}
LABELLED = "_labelled"  # Dice_labelled: within the slices that have labels
MISSED = "_missed"  # HD_missed: scans where one mask is empty, so that HD is infinite
METRICS = {metric.label: metric for metric in DEFAULT}


class Row(NamedTuple):
    """One line of scores.csv; `value` may be NaN (nothing to measure) or infinite (missed)."""

    scan: str
    organ: str
    metric: str
    value: float


@dataclass(frozen=True)
class ScanScores:
    """One scan: the value of each metric by class and name, and its part of the competition's score."""

    scan: str
    seen: Seen
    values: Mapping[str, Mapping[str, float]]
    part: Part
    prediction: str = ""
    reference: str = ""
    run: str = ""


@dataclass(frozen=True)
class Summary:
    """Means over a group of scans; see `means` for how empty masks count."""

    name: str
    scans: tuple[str, ...]
    mean: Mapping[str, Mapping[str, float]]
    foreground_mean: Mapping[str, float]
    kaggle: kaggle.Score


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

    @cached_property
    def headline(self) -> Summary:
        """Over the scans that training did not see; over the seen ones only if there are no others."""
        unseen = [one for one in self.scans if one.seen != "scan"]
        return summarise("unseen scans", unseen) if unseen else self.groups[GROUPS["scan"]]


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
        kaggle.score(scan.part for scan in scans),
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
        if _metric(metric).unbounded:
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


def _metric(name: str) -> Metric:
    """The metric behind a name in scores.csv."""
    return METRICS[name.removesuffix(LABELLED)]


def _mean(values: Iterable[float]) -> float:
    finite = list(values)
    return sum(finite) / len(finite) if finite else math.nan


def write(scores: Scores, folder: Path) -> None:
    """Write scores.csv and summary.json (nnU-Net's shape, with the groups and Kaggle's score).

    summary.json is standard JSON: what is NaN or infinite in scores.csv is null there.

    Raises:
        UserError: the disk is full or the folder can't be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("scan", "class", "metric", "value"))
    writer.writerows((*row[:3], f"{row.value:.7g}") for row in scores.rows)
    write_text(folder / "scores.csv", text.getvalue())
    write_text(folder / "summary.json", json.dumps(_plain(_summary(scores)), indent=1) + "\n")


def _summary(scores: Scores) -> dict[str, Any]:
    return {
        "headline": scores.headline.name,
        **_of(scores.headline),
        "groups": {name: _of(summary) for name, summary in scores.groups.items()},
        "metric_per_case": [
            {
                "scan": one.scan,
                "group": GROUPS[one.seen],
                "prediction_file": one.prediction,
                "reference_file": one.reference,
                "metrics": one.values,
            }
            for one in scores.scans
        ],
        "runs": scores.runs,
        "by_run": {run: _of(summary) for run, summary in scores.by_run.items()},
        "skipped": scores.skipped,
        "failed": scores.failed,
    }


def _of(summary: Summary) -> dict[str, Any]:
    return {
        "scans": summary.scans,
        "foreground_mean": summary.foreground_mean,
        "mean": summary.mean,
        "kaggle": dataclasses.asdict(summary.kaggle),
    }


def _plain(value: Any) -> Any:
    """The same as JSON can hold it, floats to 7 decimals."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 7) if math.isfinite(value) else None
    return value


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


def table(scores: Scores) -> "Table":
    """Classes by metrics, each group by itself, the headline last; `+2` counts missed organs."""
    from rich.table import Table

    caption = "* within the labelled slices.  +n: n organs missed or invented, not in the mean"
    shown = Table("", caption=caption)
    for header in COLUMNS.values():
        shown.add_column(header, justify="right", no_wrap=True)
    groups = list(scores.groups.values())
    if len(groups) > 1:
        groups.append(scores.headline)
    for group in groups:
        shown.add_row(f"[bold]{group.name} ({len(group.scans)})[/bold]")
        for organ, values in group.mean.items():
            shown.add_row(organ, *_cells(values))
        shown.add_row("mean", *_cells(group.foreground_mean))
        shown.add_row(f"Kaggle {group.kaggle.score:.4f}", end_section=True)
    return shown


def run_table(scores: Scores) -> "Table":
    """A line for each run: over its own scans, the mean of the classes' means and Kaggle's score."""
    from rich.table import Table

    shown = Table("run")
    for header in ("scans", *COLUMNS.values(), "Kaggle"):
        shown.add_column(header, justify="right", no_wrap=True)
    for run, one in scores.by_run.items():
        kaggle_score = f"{one.kaggle.score:.4f}"
        shown.add_row(run, str(len(one.scans)), *_cells(one.foreground_mean), kaggle_score)
    return shown


def _cells(values: Mapping[str, float]) -> list[str]:
    return [_cell(name, values) for name in COLUMNS]


def _cell(name: str, values: Mapping[str, float]) -> str:
    value, missed = values[name], values.get(name + MISSED, 0)
    digits = 1 if _metric(name).unit else 3
    text = "-" if math.isnan(value) else f"{value:.{digits}f}"
    return f"{text} +{missed:.0f}" if missed else text
