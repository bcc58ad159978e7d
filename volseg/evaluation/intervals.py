"""The scores of a group of scans as the bootstrap takes them, by case, and their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate
from volseg.metrics.kaggle_score import KAGGLE

if TYPE_CHECKING:
    from volseg.evaluation.scan_scores import ScanScores

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScoreIntervals:
    """The means of a group with their intervals: by class and metric, over classes, and Kaggle's."""

    cases: int
    mean: Mapping[str, Mapping[str, Estimate]]
    foreground_mean: Mapping[str, Estimate]
    kaggle: Estimate


def estimate_intervals(scans: Sequence["ScanScores"]) -> ScoreIntervals:
    """Of some scans, at least one; their cases are drawn, never the scans."""
    organs = list(scans[0].values)
    metrics = list(scans[0].values[organs[0]])
    return ScoreIntervals(
        len({scan.case for scan in scans}),
        {
            organ: {name: bootstrap.mean(values_by_case(scans, [organ], name)) for name in metrics}
            for organ in organs
        },
        {name: bootstrap.mean(values_by_case(scans, organs, name)) for name in metrics},
        bootstrap.mean(kaggle_by_case(scans, list(range(len(organs)))), weights=KAGGLE),
    )


def values_by_case(scans: Sequence["ScanScores"], organs: Sequence[str], metric: str) -> dict[str, Array]:
    """A metric's values by case, (scans, classes)."""
    return _concatenate_by_case(
        scans, [np.array([[one.values[name][metric] for name in organs]]) for one in scans]
    )


def kaggle_by_case(scans: Sequence["ScanScores"], organs: Sequence[int]) -> dict[str, Array]:
    """What the competition's score is made of by case: rows of Dice or of 1 - HD, (rows, 2).

    Weigh the columns by `KAGGLE`. `organs` are places in the order of the classes.
    """
    parts = []
    for scan in scans:
        dice, near = scan.part.dice[organs].ravel(), 1 - scan.part.hd[organs]
        rows = np.full((len(dice) + len(near), 2), np.nan)
        rows[: len(dice), 0], rows[len(dice) :, 1] = dice, near
        parts.append(rows)
    return _concatenate_by_case(scans, parts)


def _concatenate_by_case(scans: Sequence["ScanScores"], rows: Sequence[Array]) -> dict[str, Array]:
    found: dict[str, list[Array]] = {}
    for scan, one in zip(scans, rows, strict=True):
        found.setdefault(scan.case, []).append(one)
    return {case: np.concatenate(several) for case, several in found.items()}
