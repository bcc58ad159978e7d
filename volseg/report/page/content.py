"""What a report can tell: of runs, of predicted scans and of their scores."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from volseg import formatting
from volseg.evaluation.scan_scores import LABELLED, ScanScores
from volseg.evaluation.summary import COLUMNS, METRICS, Scores
from volseg.inference.confidence.calibration_file import CalibrationFile
from volseg.inference.prediction_folder import Prediction
from volseg.runs.run import Run
from volseg.tuning.tuning_file import TuningFile

T = TypeVar("T")


@dataclass(frozen=True)
class RunInfo:
    """A run: its name, by which version it was made, its config and steps as they are written, its epochs.

    `calibrated` and `tuned` are what was found for its present weights.
    """

    name: str
    run: Run
    version: str
    config: str
    epochs: tuple[Mapping[str, float], ...]
    calibrated: CalibrationFile | None = None
    tuned: TuningFile | None = None


@dataclass(frozen=True)
class ReportScan:
    """A predicted scan; `picture` is what the page's script shows, "" where it has none."""

    record: Prediction
    case: str
    day: int | None
    volume_ml: Mapping[str, float]
    scores: ScanScores | None = None
    picture: str = ""

    @property
    def name(self) -> str:
        """Such as case123_day20."""
        return self.record.scan

    @property
    def values(self) -> Mapping[str, Mapping[str, float]]:
        """Each metric by class; empty without scores."""
        return self.scores.values if self.scores else {}

    @property
    def dice(self) -> float:
        """The mean over the classes that are in it, on either side; NaN without any."""
        some = [one["Dice"] for one in self.values.values() if not math.isnan(one["Dice"])]
        return sum(some) / len(some) if some else math.nan


@dataclass(frozen=True)
class ReportContent:
    """All that a report can tell of `source`, a folder; what is not there is empty or None.

    `scans` come worst first, those without scores last, of these the least trusted first. `unscored`
    says for a scan why it has no scores, `failed` why it has no masks.
    """

    name: str
    source: str
    dataset: str = ""
    classes: tuple[str, ...] = ()
    trained: tuple[RunInfo, ...] = ()
    scans: tuple[ReportScan, ...] = ()
    scores: Scores | None = None
    unscored: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def colour_index(self, name: str) -> int:
        """Which colour a class has."""
        return self.classes.index(name)

    def swatch_index(self, name: str) -> int | None:
        """The same, or None of a class that no scan here has."""
        return self.colour_index(name) if name in self.classes else None


def distinct_run_values(facts: ReportContent, told: Callable[[RunInfo], T | None]) -> list[tuple[str, T]]:
    """What is told of runs, each once, and of which it is told; no names where it is of all."""
    by_fact: list[tuple[list[str], T]] = []
    for one in facts.trained:
        found = told(one)
        same = next((names for names, other in by_fact if other == found), None)
        if same is not None:
            same.append(one.name)
        elif found is not None:
            by_fact.append(([one.name], found))
    return [
        ("" if len(names) == len(facts.trained) else formatting.abbreviate_names(names), found)
        for names, found in by_fact
    ]


def metric_heading(metric: str) -> str:
    """What a metric is called, with its unit."""
    if metric in COLUMNS:
        return COLUMNS[metric].replace("\n", " ")
    name, unit = metric.replace("_", " "), _metric_unit(metric)
    return name if unit in ("", "%") or name.endswith(unit) else f"{name} {unit}"


def format_metric(metric: str, value: float) -> str:
    """A value of a metric as people read it; a distance from nothing is infinite."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    return f"{value:z.{1 if _metric_unit(metric) else 3}f}".replace("-", "−")


def format_metric_range(metric: str, low: float, high: float) -> str:
    """From a value of a metric to another."""
    return f"{format_metric(metric, low)}{' to ' if low < 0 else '–'}{format_metric(metric, high)}"


def _metric_unit(metric: str) -> str:
    known = METRICS.get(metric.removesuffix(LABELLED))
    return known.unit if known else ""
