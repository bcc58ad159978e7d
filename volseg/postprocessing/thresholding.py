"""Thresholding steps: they find the mask anew in the probability."""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from volseg.arrays import bounding_box
from volseg.postprocessing.connected_components import ConnectedComponents, Mask
from volseg.postprocessing.step_input import ROUNDING, Bytes, StepInput, at_least
from volseg.schema import Section

Sums = npt.NDArray[np.uint16]
WHOLE = 256  # the sum of a kernel's weights: 255 times that is the most that 16 bits hold
REACH = 3.0  # of the Gaussian, in sigmas


class ThresholdingStep(Section):
    """A step that finds the mask anew, whatever the mask before."""

    @property
    def lowest_probability(self) -> float:
        """The least probability of a voxel in the mask, or across the slices from it."""
        raise NotImplementedError


class Threshold(ThresholdingStep):
    """Start anew with the voxels whose probability is at least `value`; belongs first."""

    name: Literal["threshold"] = "threshold"
    value: float = Field(default=0.5, gt=0, le=1, examples=[0.3, 0.4, 0.5, 0.6])
    only: tuple[str, ...] = ()

    @property
    def lowest_probability(self) -> float:
        """See `ThresholdingStep`."""
        return self.value

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        return at_least(evidence.probability, self.value)


class Hysteresis(ThresholdingStep):
    """Start anew with the parts of at least `low` that hold a voxel of at least `high`; belongs first."""

    name: Literal["hysteresis"] = "hysteresis"
    high: float = Field(default=0.5, gt=0, le=1, examples=[0.5, 0.6, 0.8])
    low: float = Field(default=0.4, gt=0, le=1, examples=[0.2, 0.3, 0.4])
    only: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _low_is_below_high(self) -> "Hysteresis":
        if self.low >= self.high:
            raise ValueError(
                f"low is {self.low:g} and high {self.high:g}; expected low below high "
                "(a threshold is the step with one value)"
            )
        return self

    @property
    def lowest_probability(self) -> float:
        """See `ThresholdingStep`."""
        return self.low

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        components = ConnectedComponents.from_mask(at_least(evidence.probability, self.low))
        seeds = at_least(evidence.probability, self.high)
        return components.selected_mask(components.containing_seeds(seeds))


class SmoothAcrossSlices(ThresholdingStep):
    """Start anew where the probability, averaged across slices by a Gaussian, is at least `value`.

    Its weights are whole 256ths and reach three sigmas; beyond the scan's ends they count for nothing.
    A slice that parts from its neighbours by chance is mended, a dome keeps its shape. Belongs first.
    """

    name: Literal["smooth_across_slices"] = "smooth_across_slices"
    sigma_mm: float = Field(default=3.0, gt=0, le=50, examples=[1.5, 3.0, 4.5, 6.0])
    value: float = Field(default=0.5, gt=0, le=1, examples=[0.3, 0.4, 0.5, 0.6])
    only: tuple[str, ...] = ()

    @property
    def lowest_probability(self) -> float:
        """See `ThresholdingStep`."""
        return self.value

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        here = evidence.slices_last
        probability = here.probability
        # a mean is at least `value` only near a voxel that is
        x, y, near = bounding_box(at_least(probability, self.value))
        weights = gaussian_weights(self.sigma_mm / here.spacing_mm[2])
        mask: Mask = np.zeros(probability.shape, dtype=bool, order="F")
        reach = len(weights) // 2 if near.stop else 0
        for z in range(max(0, near.start - reach), min(near.stop + reach, probability.shape[2])):
            total, weight = _weighted_slice_sum(probability[x, y], z, weights)
            mask[x, y, z] = total >= math.ceil(self.value * 255 * weight - ROUNDING)
        return evidence.to_native_axes(mask)


@lru_cache(maxsize=64)
def gaussian_weights(sigma: float) -> tuple[int, ...]:
    """The weights of a Gaussian whose sigma is in slices, from one end to the other; their sum is WHOLE."""
    bell = np.exp(-0.5 * (np.arange(1, math.floor(REACH * sigma) + 1) / sigma) ** 2)
    middle = max(2, 2 * round(WHOLE / 2 / (1 + 2 * bell.sum())))  # even: its sides are alike
    shares = (WHOLE - middle) / 2 * bell.cumsum() / bell.sum()
    side = np.diff(np.rint(shares), prepend=0).astype(int).tolist()
    return (*side[::-1], middle, *side)


def _weighted_slice_sum(probability: Bytes, z: int, weights: tuple[int, ...]) -> tuple[Sums, int]:
    """The weighted sum of the slices around slice z, uint16 (X, Y), and the sum of their weights."""
    first = z - len(weights) // 2
    total = np.zeros(probability.shape[:2], np.uint16, order="F")
    part = np.empty_like(total)
    inside = range(max(0, first), min(first + len(weights), probability.shape[2]))
    for other in inside:
        total += np.multiply(probability[:, :, other], np.uint16(weights[other - first]), out=part)
    return total, sum(weights[other - first] for other in inside)
