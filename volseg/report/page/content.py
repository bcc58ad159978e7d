"""What a report can tell: of runs, of predicted scans and of their scores."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from volseg.evaluation.scan_scores import LABELLED, ScanScores
from volseg.evaluation.summary import COLUMNS, Scores
from volseg.formatting import abbreviate_names
from volseg.inference.confidence.calibration_file import CalibrationFile
from volseg.inference.prediction_folder import Prediction
from volseg.metrics import all_metrics
from volseg.runs.run import Run
from volseg.training.selection import SELECTIONS
from volseg.tuning.tuning_file import TuningFile
from volseg.visualization.html_page import css_colour

T = TypeVar("T")


@dataclass(frozen=True)
class RunInfo:
    """A run: its name, the version that made it, its config and steps as written, the rows of its epochs.

    `calibrated` and `tuned` are the calibration and the tuning of its present weights, `problems` those of
    files of these names that are not readable.
    """

    name: str
    run: Run
    version: str
    config: str
    epochs: tuple[Mapping[str, float], ...]
    calibrated: CalibrationFile | None = None
    tuned: TuningFile | None = None
    problems: tuple[str, ...] = ()


def score_name(runs: Sequence[RunInfo]) -> str:
    """What the scores that chose the weights of these runs are."""
    names = {run.run.config.train.select for run in runs}
    if names == {"dice"}:
        return "Dice"
    return SELECTIONS[names.pop()].title if len(names) == 1 else "score"


@dataclass(frozen=True)
class ReportScan:
    """A predicted scan; `picture` is the JSON that the page's script shows, "" where it has none.

    `slice_numbers` are those of all its slices from head to feet, where corrections of it were saved.
    """

    record: Prediction
    case: str
    day: int | None
    volume_ml: Mapping[str, float]
    scores: ScanScores | None = None
    picture: str = ""
    slice_numbers: Sequence[int] = ()

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
        """The mean Dice of the classes that labels or prediction have; NaN without any."""
        dice = [values["Dice"] for values in self.values.values() if not math.isnan(values["Dice"])]
        return sum(dice) / len(dice) if dice else math.nan

    def metric(self, class_name: str, metric: str) -> float:
        """A metric of a class; NaN without scores."""
        return self.values.get(class_name, {}).get(metric, math.nan)


@dataclass(frozen=True)
class ReportContent:
    """All that a report of a `date` can tell of `source`, a folder; what is not there is empty or None.

    `synthetic` says that the scans are a phantom's, or without scans those of training.
    `scans` come worst first, those without scores last, of these the least trusted first. `unscored`
    says for a scan why it has no scores, `failed` why it has no masks.
    """

    name: str
    source: str
    date: str = ""
    dataset: str = ""
    synthetic: bool = False
    classes: tuple[str, ...] = ()
    trained: tuple[RunInfo, ...] = ()
    scans: tuple[ReportScan, ...] = ()
    scores: Scores | None = None
    unscored: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def has_pictures(self) -> bool:
        """Whether any scan has a picture."""
        return any(scan.picture for scan in self.scans)

    def colour(self, class_name: str) -> str:
        """The CSS class of the colour of a class; "" of a class that no scan here has."""
        return css_colour(self.classes.index(class_name)) if class_name in self.classes else ""


def distinct_run_values(
    content: ReportContent, value_of: Callable[[RunInfo], T | None]
) -> list[tuple[str, T]]:
    """Each value of the runs once, with the names of its runs; no names where it is that of all."""
    values = [value_of(run) for run in content.trained]
    distinct = [value for i, value in enumerate(values) if value is not None and value not in values[:i]]
    names = [
        [run.name for run, other in zip(content.trained, values, strict=True) if other == value]
        for value in distinct
    ]
    return [
        ("" if len(runs) == len(values) else abbreviate_names(runs), value)
        for runs, value in zip(names, distinct, strict=True)
    ]


def metric_heading(metric: str) -> str:
    """The name of a metric with its unit."""
    if metric in COLUMNS:
        return COLUMNS[metric].replace("\n", " ")
    name, unit = metric.replace("_", " "), _metric_unit(metric)
    return name if unit in ("", "%") or name.endswith(unit) else f"{name} {unit}"


def format_metric(metric: str, value: float) -> str:
    """A metric's value with three decimals, one if it has a unit; `–` for NaN, `∞` for infinity."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    return f"{value:z.{1 if _metric_unit(metric) else 3}f}".replace("-", "−")


def format_metric_range(metric: str, low: float, high: float) -> str:
    """An interval of a metric's values."""
    return f"{format_metric(metric, low)}{' to ' if low < 0 else '–'}{format_metric(metric, high)}"


def _metric_unit(metric: str) -> str:
    measure = all_metrics().get(metric.removesuffix(LABELLED))
    return measure.unit if measure else ""
