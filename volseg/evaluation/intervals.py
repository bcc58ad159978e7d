"""Mean scores of a group of scans with confidence intervals from the bootstrap over cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate
from volseg.evaluation.scan_scores import ScanScores, group_scans
from volseg.metrics.kaggle_score import KAGGLE, score_rows

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScoreIntervals:
    """The means of a group with their intervals: by class and metric, over classes, and Kaggle's score."""

    cases: int
    mean: Mapping[str, Mapping[str, Estimate]]
    foreground_mean: Mapping[str, Estimate]
    kaggle: Estimate


def estimate_intervals(scans: Sequence[ScanScores]) -> ScoreIntervals:
    """The means over at least one scan with their intervals; cases are drawn, never scans."""
    classes = list(scans[0].values)
    metrics = list(scans[0].values[classes[0]])
    mean, *by_class = (
        {metric: bootstrap.mean(values_by_case(scans, names, metric)) for metric in metrics}
        for names in (classes, *([name] for name in classes))
    )
    kaggle = bootstrap.mean(kaggle_by_case(scans, range(len(classes))), weights=KAGGLE)
    cases = len({scan.case for scan in scans})
    return ScoreIntervals(cases, dict(zip(classes, by_class, strict=True)), mean, kaggle)


def values_by_case(scans: Sequence[ScanScores], classes: Sequence[str], metric: str) -> dict[str, Array]:
    """A metric's values by case, (scans, classes)."""
    return {
        case: np.array([[scan.values[name][metric] for name in classes] for scan in days])
        for case, days in group_scans(scans, lambda scan: scan.case).items()
    }


def kaggle_by_case(scans: Sequence[ScanScores], classes: Sequence[int]) -> dict[str, Array]:
    """The rows of the competition's score by case, (rows, 2); `classes` are positions in their order."""
    at = list(classes)
    return {
        case: np.concatenate([score_rows(scan.part.dice[at], scan.part.hd[at]) for scan in days])
        for case, days in group_scans(scans, lambda scan: scan.case).items()
    }
