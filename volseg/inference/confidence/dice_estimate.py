"""The Dice that a class's mask probably has, by how certain the network is of it.

By probabilities alone the Dice to expect is 2 Σ p over the mask, divided by its voxels plus Σ p over the
whole scan. That is biased: the last sum is made of a great many voxels of hardly any probability, and errors
of neighbours are one error, not many that cancel out. So certainty is taken of the mask's own voxels, and
how much Dice it stands for is measured on scans that the network has not seen: a line from logit to logit.
"""

import math

import numpy as np
import numpy.typing as npt

from volseg.inference.confidence.probability_histogram import LEVELS, Counts
from volseg.schema import Section

Floats = npt.NDArray[np.float64]
MEASURE = "certainty of the mask"
"""What confidence is made of, as part of a prediction's key: another name, and scans are predicted again."""
EDGE = 0.005
"""The logit of a share is taken at least so far from 0 and 1."""


def mask_certainty(counts: Counts) -> float:
    """The mean probability of a mask's voxels, by counts (2, 256); NaN of an empty mask."""
    mask = counts[1].sum()
    return float(counts[1] @ (np.arange(LEVELS) / (LEVELS - 1)) / mask) if mask else math.nan


def logit(share: npt.ArrayLike) -> Floats:
    """The logits of shares, within those of EDGE."""
    kept = np.clip(share, EDGE, 1 - EDGE)
    return np.asarray(np.log(kept / (1 - kept)))


def sigmoid(logits: npt.ArrayLike) -> Floats:
    """The shares of logits."""
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


class DiceEstimate(Section):
    """One class: a line from the logit of certainty to that of Dice; the default takes the one for the other.

    `margin` is how far the Dice of eight masks in ten lies from the line at most, below and above, in logits;
    None where there are too few masks to know.
    """

    intercept: float = 0.0
    slope: float = 1.0
    margin: tuple[float, float] | None = None

    def dice(self, certainty: float) -> float:
        """The Dice to expect of a mask; NaN where there is none."""
        return float(sigmoid(self._logit(certainty)))

    def bounds(self, certainty: float) -> tuple[float, float] | None:
        """The range in which the Dice of eight masks in ten lies; None where that is not known."""
        if self.margin is None or math.isnan(certainty):
            return None
        low, high = sigmoid(self._logit(certainty) + np.array(self.margin))
        return float(low), float(high)

    def _logit(self, certainty: float) -> float:
        return self.intercept + self.slope * float(logit(certainty))
