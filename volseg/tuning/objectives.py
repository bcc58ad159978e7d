"""Scores that post-processing can be tuned for: the values of one class of one scan, higher is better."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy.typing as npt

from volseg.data.dataset import Dataset
from volseg.evaluation.bootstrap import FiniteSums
from volseg.metrics.kaggle_score import KAGGLE, normalised_hd, score_rows, slice_dice
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.metrics.surface import SurfaceDice

ObjectiveName = Literal["kaggle", "dice", "surface_dice"]


@dataclass(frozen=True)
class Objective:
    """A score: its title, the weights of its C columns, and the rows (S, C) that a mask adds to them."""

    title: str
    weights: tuple[float, ...] | None
    values: Callable[[MaskPair], npt.ArrayLike]

    def sums(self, pair: MaskPair) -> FiniteSums:
        """The sums and counts of the finite values of one class of one scan, each (C,)."""
        return FiniteSums.of_rows(self.values(pair))


def default_objective(dataset: Dataset) -> ObjectiveName:
    """The competition's score on its data, Dice on all others."""
    return "kaggle" if dataset.facts.is_competition else "dice"


def _one_if_nan(value: float) -> list[float]:
    """A metric's value, but 1 for NaN: both masks are empty there, and no mask could be better."""
    return [1.0 if math.isnan(value) else value]


OBJECTIVES: dict[ObjectiveName, Objective] = {
    "kaggle": Objective(
        "the competition's score", KAGGLE, lambda pair: score_rows(slice_dice(pair), normalised_hd(pair))
    ),
    "dice": Objective("Dice", None, lambda pair: _one_if_nan(Dice()(pair))),
    "surface_dice": Objective("surface Dice at 2 mm", None, lambda pair: _one_if_nan(SurfaceDice()(pair))),
}
