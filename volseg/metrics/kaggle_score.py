"""The score of the UW-Madison GI tract competition: 0.4 Dice + 0.6 (1 - HD).

Kaggle's code is not public; this is the reconstruction of the competition's text and the host's
notes. It wants native grids and whole scans. A skipped value is NaN.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from volseg.metrics.mask_pair import MaskPair

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class KaggleTerms:
    """What one scan adds to the score.

    `dice` is a value for each class and slice (C, Z), `hd` one for each class (C,), `hd_joint` one.
    """

    dice: npt.NDArray[np.float64]
    hd: npt.NDArray[np.float64]
    hd_joint: float


@dataclass(frozen=True)
class KaggleScore:
    """The score over scans; `hd` and `hd_joint` are distances (0 is best), the others 1 at best."""

    dice: float
    hd: float
    hd_joint: float
    score: float
    score_joint: float


def scan_terms(comparisons: Mapping[str, MaskPair]) -> KaggleTerms:
    """One scan's part, from the comparison of each class; all on one grid.

    The joint distance is between the union of the true organs and the union of the predicted ones.
    Whether Kaggle takes it so or organ by organ is not known; in it, organs that are taken for one
    another cost nothing.
    """
    every = list(comparisons.values())
    truth = reduce(np.logical_or, [comparison.label for comparison in every])
    prediction = reduce(np.logical_or, [comparison.prediction for comparison in every])
    return KaggleTerms(
        np.stack([slice_dice(comparison) for comparison in every]),
        np.array([normalised_hd(comparison) for comparison in every]),
        normalised_hd(MaskPair(truth, prediction, every[0].spacing_mm)),
    )


def score_scans(parts: Iterable[KaggleTerms]) -> KaggleScore:
    """The score over scans: Dice is a mean over slices and classes, HD over scans and classes."""
    every = list(parts)
    dice = _mean_without_nan(np.concatenate([one.dice.ravel() for one in every]))
    hd = _mean_without_nan(np.concatenate([one.hd for one in every]))
    joint = _mean_without_nan(np.array([one.hd_joint for one in every]))
    return KaggleScore(dice, hd, joint, 0.4 * dice + 0.6 * (1 - hd), 0.4 * dice + 0.6 * (1 - joint))


def slice_dice(comparison: MaskPair) -> npt.NDArray[np.float64]:
    """Dice of each slice (Z,): NaN (skipped) where truth and prediction are empty, 0 where one is."""
    truth, prediction = comparison.cropped_masks
    total = np.count_nonzero(truth, axis=(0, 1)) + np.count_nonzero(prediction, axis=(0, 1))
    shared = np.count_nonzero(truth & prediction, axis=(0, 1))
    dice = np.full(comparison.label.shape[2], np.nan)
    dice[comparison.box[2]] = 2 * shared / np.where(total, total, np.nan)
    return dice


def normalised_hd(comparison: MaskPair) -> float:
    """Hausdorff distance where voxel i of n along an axis lies at i / n, over its worst, sqrt(3).

    1 where one mask is empty, NaN (skipped) where both are.
    """
    if not comparison.has_distances:
        return 1.0 if math.isinf(comparison.distance_if_empty) else math.nan
    x, y, z = comparison.label.shape
    return comparison.hausdorff_distance((1 / x, 1 / y, 1 / z)) / math.sqrt(3)


def _mean_without_nan(values: npt.NDArray[np.float64]) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else math.nan


KAGGLE = (0.4, 0.6)
"""The weights of Dice and 1 - HD in the competition's score."""
