"""What post-processing can be tuned for: what one class of one scan adds to a score, higher is better."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from volseg.evaluation.bootstrap import FiniteSums
from volseg.metrics import Metric, kaggle_score
from volseg.metrics.kaggle_score import KAGGLE
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.metrics.surface import SurfaceDice

Array = npt.NDArray[np.float64]
ObjectiveName = Literal["kaggle", "dice", "surface_dice"]


@dataclass(frozen=True)
class Objective:
    """A score: its name for people, how its columns are weighed, and what one comparison adds to them.

    `values` gives rows of C columns, of which what is not finite is left out.
    """

    title: str
    weights: tuple[float, ...] | None
    values: Callable[[MaskPair], Array]

    def sums(self, comparison: MaskPair) -> FiniteSums:
        """What one class of one scan adds, each (C,)."""
        rows = self.values(comparison)
        there = np.isfinite(rows)
        return FiniteSums(np.where(there, rows, 0).sum(axis=0), there.sum(axis=0).astype(float))


def _kaggle_rows(comparison: MaskPair) -> Array:
    """Dice of each slice and 1 - HD of the scan, as the competition counts them."""
    dice = kaggle_score.slice_dice(comparison)
    rows = np.full((len(dice) + 1, 2), np.nan)
    rows[:-1, 0], rows[-1, 1] = dice, 1 - kaggle_score.normalised_hd(comparison)
    return rows


def _metric_values(metric: Metric) -> Callable[[MaskPair], Array]:
    """A metric that is NaN where both masks are empty: there a mask could not be better, so that is 1."""

    def values(comparison: MaskPair) -> Array:
        found = metric(comparison)
        return np.array([[1.0 if math.isnan(found) else found]])

    return values


OBJECTIVES: dict[ObjectiveName, Objective] = {
    "kaggle": Objective("the competition's score", KAGGLE, _kaggle_rows),
    "dice": Objective("Dice", None, _metric_values(Dice())),
    "surface_dice": Objective("surface Dice at 2 mm", None, _metric_values(SurfaceDice(tolerance_mm=2))),
}
