"""What a step may look at: one class of one scan."""

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from volseg.postprocessing.connected_components import ConnectedComponents, Mask

Bytes = npt.NDArray[np.uint8]
Kind = TypeVar("Kind", bound=np.generic)
ROUNDING = 1e-6  # NIfTI keeps voxel sizes as float32


@dataclass(frozen=True, eq=False)
class StepInput:
    """What a step may look at: one class of one scan on its native grid, all (X, Y, Z).

    `mask` is what the steps before left, `probability` has 8 bits (255 is certain; of exclusive
    classes, 128 and more say that none is likelier), `image` is the first channel as the scan stores it.
    Slices are the planes across `slice_axis`, the axis nearest to the line from head to feet; in the
    raw layout it is the last.
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
        """Evidence before the first step: its mask is where the probability is at least one half."""
        return cls(at_least(probability, 0.5), probability, image, spacing_mm, slice_axis)

    def with_mask(self, mask: Mask) -> "StepInput":
        """The same evidence of another mask; itself if that is the mask it has, with what is known of it."""
        return self if np.array_equal(mask, self.mask) else dataclasses.replace(self, mask=mask)

    @cached_property
    def components(self) -> ConnectedComponents:
        """The mask's 26-connected parts, found once for all steps that look at this mask."""
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
        """The same, the axis across the slices turned to the end: views, nothing is copied."""
        if self.slice_axis == 2:
            return self
        one, other = (mm for axis, mm in enumerate(self.spacing_mm) if axis != self.slice_axis)
        return StepInput(
            self._move_slices_last(self.mask),
            self._move_slices_last(self.probability),
            self._move_slices_last(self.image),
            (one, other, self.spacing_mm[self.slice_axis]),
        )

    def to_native_axes(self, turned: Mask) -> Mask:
        """A mask whose slices are last, its axes turned back."""
        return np.moveaxis(turned, 2, self.slice_axis)

    def _move_slices_last(self, native: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
        return np.moveaxis(native, self.slice_axis, 2)


def min_level(value: float) -> int:
    """The least of 255ths that is at least a value, which lies in (0, 1]."""
    return math.ceil(value * 255 - ROUNDING)


def at_least(probability: Bytes, value: float) -> Mask:
    """Where an 8-bit probability is at least `value`, which lies in (0, 1]."""
    return probability >= np.uint8(min_level(value))
