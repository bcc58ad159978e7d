"""Scores that post-processing can be tuned for: the values of one class of one scan, higher is better."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy.typing as npt

from volseg.evaluation.bootstrap import FiniteSums
from volseg.metrics import Metric
from volseg.metrics.kaggle_score import KAGGLE, normalised_hd, score_rows, slice_dice
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.metrics.surface import SurfaceDice

ObjectiveName = Literal["kaggle", "dice", "surface_dice"]


@dataclass(frozen=True)
class Objective:
    """A score: its title, the weights of its C columns, and the rows (S, C) that a mask adds to them.

    Values that are not finite are left out.
    """

    title: str
    weights: tuple[float, ...] | None
    values: Callable[[MaskPair], npt.ArrayLike]

    def sums(self, pair: MaskPair) -> FiniteSums:
        """The sums and counts of one class of one scan, each (C,)."""
        return FiniteSums.of_rows(self.values(pair))


def _metric_values(metric: Metric) -> Callable[[MaskPair], npt.ArrayLike]:
    """A metric, but 1 where it is NaN: both masks are empty there, and no mask could be better."""

    def values(pair: MaskPair) -> npt.ArrayLike:
        value = metric(pair)
        return [1.0 if math.isnan(value) else value]

    return values


OBJECTIVES: dict[ObjectiveName, Objective] = {
    "kaggle": Objective(
        "the competition's score", KAGGLE, lambda pair: score_rows(slice_dice(pair), normalised_hd(pair))
    ),
    "dice": Objective("Dice", None, _metric_values(Dice())),
    "surface_dice": Objective("surface Dice at 2 mm", None, _metric_values(SurfaceDice(tolerance_mm=2))),
}
