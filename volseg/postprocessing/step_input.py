"""The input of a step: mask, probability and image of one class of one scan."""

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.postprocessing.connected_components import ConnectedComponents, Mask

Bytes = npt.NDArray[np.uint8]
ROUNDING = 1e-6  # NIfTI keeps voxel sizes as float32


@dataclass(frozen=True, eq=False)
class StepInput:
    """The input of a step: one class of one scan on its native grid, all arrays (X, Y, Z).

    `mask` is that of the steps before, `probability` has 8 bits (255 is certain; of exclusive classes, 128
    and more say that none is likelier), `image` is the first channel as it is stored. Slices are the planes
    across `slice_axis`, the axis nearest to the line from head to feet; in the raw layout it is the last.
    """

    mask: Mask
    probability: Bytes
    image: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]
    slice_axis: int = 2

    @classmethod
    def from_probability(
        cls,
        probability: Bytes,
        *,
        image: npt.NDArray[Any],
        spacing_mm: tuple[float, float, float],
        slice_axis: int = 2,
    ) -> "StepInput":
        """The input of the first step, whose mask is where the probability is at least one half."""
        return cls(at_least(probability, 0.5), probability, image, spacing_mm, slice_axis)

    def with_mask(self, mask: Mask) -> "StepInput":
        """The input with another mask; itself, with its cached components, if the masks are equal."""
        return self if np.array_equal(mask, self.mask) else dataclasses.replace(self, mask=mask)

    @cached_property
    def components(self) -> ConnectedComponents:
        """The mask's 26-connected components, cached for all steps on this mask."""
        return ConnectedComponents.from_mask(self.mask)

    @property
    def voxel_mm3(self) -> float:
        """The volume of one voxel in mm³."""
        return math.prod(self.spacing_mm)

    @property
    def pixel_mm2(self) -> float:
        """The area of one voxel within its slice in mm²."""
        return self.voxel_mm3 / self.spacing_mm[self.slice_axis]

    @property
    def slices_last(self) -> "StepInput":
        """The input with the axis across the slices last, as views."""
        if self.slice_axis == 2:
            return self
        across = self.slice_axis
        x, y = (mm for axis, mm in enumerate(self.spacing_mm) if axis != across)
        mask, image = np.moveaxis(self.mask, across, 2), np.moveaxis(self.image, across, 2)
        probability = np.moveaxis(self.probability, across, 2)
        return StepInput(mask, probability, image, (x, y, self.spacing_mm[across]))

    def to_native_axes(self, turned: Mask) -> Mask:
        """A mask whose slices are last, its axes turned back."""
        return np.moveaxis(turned, 2, self.slice_axis)


def min_level(value: float) -> int:
    """The least 8-bit level, a 255th, of at least a value in (0, 1]."""
    return math.ceil(value * 255 - ROUNDING)


def at_least(probability: Bytes, value: float) -> Mask:
    """The mask where an 8-bit probability is at least a value in (0, 1]."""
    return probability >= np.uint8(min_level(value))
