"""The score of whole scans by which the best weights are chosen: `train.select`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.config.sections import SelectName
from volseg.metrics.kaggle_score import KaggleTerms, normalised_hd, score_scans, slice_dice
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.metrics.surface import SurfaceDice

MET = 0.1
"""The Dice below which a class counts as missed in the competition's score.

Its exact Hausdorff distance takes far longer than that of a mask which lies on the organ.
"""


@dataclass(frozen=True)
class Selection:
    """A score of a set of scans, higher is better.

    `measure` takes the masks of one class of one scan, `combine` what it has measured of scans (S, K).
    """

    title: str
    measure: Callable[[MaskPair], Any]
    combine: Callable[[Sequence[Sequence[Any]]], float]


def column_means(values: npt.ArrayLike) -> list[float]:
    """The mean of each column without its NaNs; NaN where there is nothing else."""
    table = np.asarray(values, np.float64)
    defined = ~np.isnan(table)
    total = np.where(defined, table, 0).sum(axis=0)
    return [float(t / n) if n else math.nan for t, n in zip(total, defined.sum(axis=0), strict=True)]


def mean_over_classes(values: npt.ArrayLike) -> float:
    """The mean over classes of each one's mean over scans (S, K), without NaNs; NaN without any number."""
    means = [mean for mean in column_means(values) if not math.isnan(mean)]
    return float(np.mean(means)) if means else math.nan


def _kaggle_terms(pair: MaskPair) -> tuple[npt.NDArray[np.float64], float]:
    """Dice by slice, and the normalised Hausdorff distance, which is 1 of a class that is hardly met."""
    missed = Dice()(pair) < MET  # not where it is NaN
    return slice_dice(pair), 1.0 if missed else normalised_hd(pair)


def _kaggle_score(scans: Sequence[Sequence[tuple[npt.NDArray[np.float64], float]]]) -> float:
    terms = (
        KaggleTerms(np.stack([dice for dice, _ in scan]), np.array([hd for _, hd in scan]), math.nan)
        for scan in scans
    )
    return score_scans(terms).score


SELECTIONS: dict[SelectName, Selection] = {
    "dice": Selection("mean Dice", Dice(), mean_over_classes),
    "kaggle": Selection("Kaggle score", _kaggle_terms, _kaggle_score),
    "surface_dice": Selection("mean surface Dice at 2 mm", SurfaceDice(), mean_over_classes),
}
