"""Calibration of a network's probabilities: temperature scaling, fitted on counts of 256 levels.

A temperature (Guo et al. 2017, On Calibration of Modern Neural Networks) divides logits. The two ends of
8 bits have no logit, so how often they are right is measured: a miss that the network is sure of is what
harms a patient, and no temperature would show it.
"""

import math

import numpy as np
import numpy.typing as npt
from pydantic import Field

from volseg.inference.confidence.probability_histogram import LEVELS, Counts, Floats
from volseg.schema import Section

BINS = 15
"""Of equal width, as in Guo et al."""
COLDEST, HOTTEST = 0.05, 20.0
LOGITS = np.log(np.arange(1, LEVELS - 1) / np.arange(LEVELS - 2, 0, -1))
"""Of levels 1 to 254, (254,)."""


class TemperatureScaling(Section):
    """One class; the defaults leave probabilities as the network gives them.

    `certain` is the share of the voxels of level 255 that belong to the class, `missed` the share of the
    class's voxels that have level 0.
    """

    temperature: float = Field(default=1.0, gt=0)
    certain: float = Field(default=1.0, ge=0, le=1)
    missed: float = Field(default=0.0, ge=0, lt=1)

    @property
    def level_probabilities(self) -> Floats:
        """The probability that each level stands for, (256,)."""
        return np.array([0, *(1 / (1 + np.exp(-LOGITS / self.temperature))), self.certain])


def fit_calibration(counts: Counts) -> TemperatureScaling:
    """The calibration that fits voxels best, counted by level outside and inside the labels, (2, 256).

    The temperature has the least negative log-likelihood of levels 1 to 254; 1 where they are all of
    one kind.
    """
    inside, between = counts[1], counts[:, 1:-1]
    full, total = counts[:, -1].sum(), inside.sum()
    return TemperatureScaling(
        temperature=_fit_temperature(between) if between.any(axis=1).all() else 1.0,
        certain=float(inside[-1] / full) if full else 1.0,
        missed=float(inside[0] / total) if total > inside[0] else 0.0,
    )


def reliability_bins(counts: Counts, table: Floats) -> Floats:
    """By BINS of probability the voxels, the sum of their probabilities and those of the class, (3, BINS).

    Voxels of level 0, most of a scan, are left out of the `counts` (2, 256): they surely lie outside.
    """
    place = np.minimum((table * BINS).astype(int), BINS - 1)[1:]
    voxels = counts[:, 1:].sum(axis=0)
    sums = (voxels, voxels * table[1:], counts[1, 1:])
    return np.stack([np.bincount(place, weights, minlength=BINS) for weights in sums])


def expected_calibration_error(bins: npt.ArrayLike) -> float:
    """The mean distance of probability and share of the class over bins (3, BINS) (Guo et al. 2017)."""
    voxels, expected, actual = np.asarray(bins, np.float64)
    return float(np.abs(expected - actual).sum() / voxels.sum()) if voxels.any() else math.nan


def _fit_temperature(counts: Counts) -> float:
    """By bisection over the inverse of the temperature, of which the likelihood is concave."""
    voxels = counts.sum(axis=0)
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(50):
        middle = math.sqrt(low * high)
        slope = LOGITS @ (counts[1] - voxels / (1 + np.exp(-middle * LOGITS)))
        low, high = (middle, high) if slope > 0 else (low, middle)
    return 1 / math.sqrt(low * high)
