"""Removing steps: their mask is a subset of the one before."""

from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from volseg.arrays import bounding_box
from volseg.postprocessing.body_mask import Body
from volseg.postprocessing.connected_components import ConnectedComponents, Mask
from volseg.postprocessing.step_input import ROUNDING, StepInput, min_level
from volseg.schema import Section

SLICES = 32  # in which the body is found at a time, so that memory does not grow with the scan


class RemovalStep(Section):
    """A step whose mask is a subset of the one before."""


class DropSmall(RemovalStep):
    """Drop every part smaller than `min_mm3`."""

    name: Literal["drop_small"] = "drop_small"
    min_mm3: PositiveFloat = Field(examples=[200.0, 500.0, 1000.0, 2000.0, 5000.0])
    only: tuple[str, ...] = ()

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        smallest = self.min_mm3 * (1 - ROUNDING) / evidence.voxel_mm3
        return evidence.components.selected_mask(evidence.components.sizes >= smallest)


class DropSmallInSlices(RemovalStep):
    """Drop, in each slice by itself, every part smaller than `min_mm2`."""

    name: Literal["drop_small_in_slices"] = "drop_small_in_slices"
    min_mm2: PositiveFloat = Field(examples=[30.0, 60.0, 120.0, 240.0])
    only: tuple[str, ...] = ()

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        smallest = self.min_mm2 * (1 - ROUNDING) / evidence.pixel_mm2
        components = ConnectedComponents.from_mask(evidence.slices_last.mask, in_slices=True)
        return evidence.to_native_axes(components.selected_mask(components.sizes >= smallest))


class KeepLargest(RemovalStep):
    """Keep the `k` largest parts, and those as large as the last of them: ties are not decided by place.

    Right for a stomach, wrong for bowel, which has many parts.
    """

    name: Literal["keep_largest"] = "keep_largest"
    k: PositiveInt = Field(default=1, examples=[1, 2, 3])
    only: tuple[str, ...] = ()

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        sizes = evidence.components.sizes
        last = np.sort(sizes)[-self.k :][:1]  # empty for an empty mask
        return evidence.components.selected_mask(sizes >= last)


class EmptyWeakSlices(RemovalStep):
    """Empty each slice whose mask has no voxel of at least `min_probability`, or an area below `min_mm2`.

    Only what the steps before left counts, and all of it that lies in the slice.
    """

    name: Literal["empty_weak_slices"] = "empty_weak_slices"
    min_probability: float = Field(default=0.5, gt=0, le=1, examples=[0.5, 0.7, 0.9])
    min_mm2: NonNegativeFloat = Field(default=0.0, examples=[0.0, 120.0, 240.0])
    only: tuple[str, ...] = ()

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        here = evidence.slices_last
        mask = here.mask.copy(order="K")
        x, y, z = bounding_box(mask)
        smallest = self.min_mm2 * (1 - ROUNDING) / evidence.pixel_mm2
        for number in range(z.start, z.stop):
            inside = mask[x, y, number]
            strongest = here.probability[x, y, number].max(where=inside, initial=0)
            if strongest < min_level(self.min_probability) or np.count_nonzero(inside) < smallest:
                inside[...] = False
        return evidence.to_native_axes(mask)


class LimitToBody(RemovalStep):
    """Cut off what lies in the air, further than `margin_mm` from the body along any axis.

    The body is found in the image: tissue, and in each slice what tissue surrounds. Where the image has
    no clear air, as in a volume cut out of a body, nothing is cut off.
    """

    name: Literal["limit_to_body"] = "limit_to_body"
    margin_mm: float = Field(default=10.0, ge=0, le=100, examples=[5.0, 10.0, 20.0])
    only: tuple[str, ...] = ()

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        here = evidence.slices_last
        mask = here.mask.copy(order="K")
        body = Body(here.image, here.spacing_mm, self.margin_mm)
        z = bounding_box(mask)[2]
        for first in range(z.start, z.stop, SLICES):
            slab = slice(first, min(first + SLICES, z.stop))
            mask[:, :, slab] &= body.mask_in_slices(slab)
        return evidence.to_native_axes(mask)
