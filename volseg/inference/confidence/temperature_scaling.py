"""What a network's probabilities are worth: temperature scaling, fitted on counts of 256 levels.

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


class Calibration(Section):
    """One class; the defaults take the network at its word.

    `certain` is how often a voxel of level 255 is the organ's, `missed` the share of the organ's voxels
    that have level 0.
    """

    temperature: float = Field(default=1.0, gt=0)
    certain: float = Field(default=1.0, ge=0, le=1)
    missed: float = Field(default=0.0, ge=0, lt=1)

    @property
    def level_probabilities(self) -> Floats:
        """The probability that each level stands for, (256,)."""
        table = np.zeros(LEVELS)
        table[1:-1] = 1 / (1 + np.exp(-_level_logits() / self.temperature))
        table[-1] = self.certain
        return table


def fit_calibration(counts: Counts) -> Calibration:
    """What suits voxels that are counted by level outside and inside the truth, (2, 256), best.

    The temperature has the least negative log-likelihood of levels 1 to 254; 1 where they are all of
    one kind.
    """
    outside, inside = counts
    temperature = 1.0
    if outside[1:-1].any() and inside[1:-1].any():
        temperature = _fit_temperature(counts[:, 1:-1])
    full = counts[:, -1].sum()
    organ = inside.sum()
    return Calibration(
        temperature=temperature,
        certain=float(inside[-1] / full) if full else 1.0,
        missed=float(inside[0] / organ) if organ > inside[0] else 0.0,
    )


def reliability_bins(counts: Counts, table: Floats) -> Floats:
    """Voxels, the sum of their probabilities and those of the organ by BINS of probability, (3, BINS).

    Voxels of level 0 are left out: most of a scan, of which nobody doubts that there is no organ.
    """
    place = np.minimum((table * BINS).astype(int), BINS - 1)[1:]
    voxels = counts[:, 1:].sum(axis=0)
    sums = (voxels, voxels * table[1:], counts[1, 1:])
    return np.stack([np.bincount(place, weights, minlength=BINS) for weights in sums])


def expected_calibration_error(bins: npt.ArrayLike) -> float:
    """The expected calibration error of (3, BINS): how far probability and truth are apart on average."""
    voxels, told, true = np.asarray(bins, np.float64)
    return float(np.abs(told - true).sum() / voxels.sum()) if voxels.any() else math.nan


def _level_logits() -> Floats:
    levels = np.arange(1, LEVELS - 1)
    return np.asarray(np.log(levels / (LEVELS - 1 - levels)))


def _fit_temperature(counts: Counts) -> float:
    """By bisection: the likelihood has one peak over the inverse of the temperature."""
    logits, voxels = _level_logits(), counts.sum(axis=0)
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(50):
        middle = math.sqrt(low * high)
        slope = logits @ (counts[1] - voxels / (1 + np.exp(-middle * logits)))
        low, high = (middle, high) if slope > 0 else (low, middle)
    return 1 / math.sqrt(low * high)
