"""The score of the UW-Madison GI tract competition: 0.4 Dice + 0.6 (1 - HD).

Kaggle's code is not public; this is the reconstruction of the competition's text and the host's
notes. It is computed on native grids and whole scans. A skipped value is NaN.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from volseg.metrics.mask_pair import MaskPair

KAGGLE = (0.4, 0.6)
"""The weights of Dice and 1 - HD."""


@dataclass(frozen=True)
class KaggleTerms:
    """One scan's terms of the score: Dice by class and slice (C, Z), HD by class (C,), one joint HD."""

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


def scan_terms(pairs: Mapping[str, MaskPair]) -> KaggleTerms:
    """The terms of one scan, from the masks of each class; all on one grid.

    The joint distance is between the union of the labels of all classes and that of the predictions.
    Whether Kaggle takes it so or class by class is not known; in it, classes that are taken for one
    another cost nothing.
    """
    by_class = list(pairs.values())
    label = reduce(np.logical_or, [pair.label for pair in by_class])
    prediction = reduce(np.logical_or, [pair.prediction for pair in by_class])
    return KaggleTerms(
        np.stack([slice_dice(pair) for pair in by_class]),
        np.array([normalised_hd(pair) for pair in by_class]),
        normalised_hd(MaskPair(label, prediction, by_class[0].spacing_mm)),
    )


def score_scans(terms: Iterable[KaggleTerms]) -> KaggleScore:
    """The score over scans: Dice is a mean over slices and classes, HD over scans and classes."""
    scans = list(terms)
    dice = _mean_without_nan(np.concatenate([scan.dice.ravel() for scan in scans]))
    hd = _mean_without_nan(np.concatenate([scan.hd for scan in scans]))
    joint = _mean_without_nan(np.array([scan.hd_joint for scan in scans]))
    of_dice, of_hd = KAGGLE
    score, score_joint = (of_dice * dice + of_hd * (1 - distance) for distance in (hd, joint))
    return KaggleScore(dice, hd, joint, score, score_joint)


def score_rows(dice: npt.ArrayLike, hd: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Rows of Dice (N,) and of 1 - HD (M,) in two columns that `KAGGLE` weighs, (N + M, 2)."""
    columns = np.ravel(dice), 1 - np.ravel(hd)
    rows = np.full((columns[0].size + columns[1].size, 2), np.nan)
    rows[: columns[0].size, 0], rows[columns[0].size :, 1] = columns
    return rows


def slice_dice(pair: MaskPair) -> npt.NDArray[np.float64]:
    """Dice of each slice (Z,): NaN (skipped) where both masks are empty, 0 where one is."""
    label, prediction = pair.cropped_masks
    total = np.count_nonzero(label, axis=(0, 1)) + np.count_nonzero(prediction, axis=(0, 1))
    shared = np.count_nonzero(label & prediction, axis=(0, 1))
    dice = np.full(pair.label.shape[2], np.nan)
    dice[pair.box[2]] = 2 * shared / np.where(total, total, np.nan)
    return dice


def normalised_hd(pair: MaskPair) -> float:
    """Hausdorff distance where voxel i of n along an axis lies at i / n, over its worst, sqrt(3).

    1 where one mask is empty, NaN (skipped) where both are.
    """
    if not pair.has_distances:
        return 1.0 if math.isinf(pair.distance_if_empty) else math.nan
    x, y, z = pair.label.shape
    return pair.hausdorff_distance((1 / x, 1 / y, 1 / z)) / math.sqrt(3)


def _mean_without_nan(values: npt.NDArray[np.float64]) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else math.nan
