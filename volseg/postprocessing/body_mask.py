"""Where the body is: tissue and what it surrounds, and a margin of the air around it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.postprocessing.connected_components import Mask, fill_holes

LEVEL = 1 / 8
"""How far a voxel must be from the darkest value to the mean of all that is brighter, to be tissue."""
THIN = 1  # voxels; what is no thicker than two of these is noise


@dataclass(frozen=True, eq=False)
class Body:
    """The body in an image (X, Y, Z), slices last: tissue, grown by `margin_mm`, its holes filled.

    It is grown along each axis, so as a box, and by whole voxels, rounded up. Holes are filled last, in
    each slice: a gap in the wall around air of the bowel, up to twice the margin wide, does not open it.
    """

    image: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]
    margin_mm: float

    def mask_in_slices(self, z: slice) -> Mask:
        """The body in some of the slices, as it is in all of them together."""
        reach = [math.ceil(self.margin_mm / mm) for mm in self.spacing_mm]
        first = max(0, z.start - reach[2] - 2 * THIN)
        bright = self.image[:, :, first : z.stop + reach[2] + 2 * THIN] >= self.tissue_threshold
        solid = ~dilate_mask(~bright, [THIN] * 3)
        near = dilate_mask(solid, [THIN + count for count in reach])
        return fill_holes(near[:, :, z.start - first : z.stop - first], in_slices=True)

    @cached_property
    def tissue_threshold(self) -> float | int:
        """The value from which on a voxel is tissue; it does not depend on how much air there is."""
        darkest = self.image.min()
        above = int(np.count_nonzero(self.image > darkest))  # of an image all alike nothing is air
        sum_above = self.image.sum(dtype=np.float64) - self.image.size * float(darkest)
        level = float(darkest) + LEVEL * float(sum_above) / max(above, 1)
        return level if self.image.dtype.kind == "f" else math.ceil(level)  # compared as it is kept


def dilate_mask(mask: Mask, reach: list[int]) -> Mask:
    """A mask and all that lies within so many voxels of it along each axis."""
    for axis, count in enumerate(reach):
        sides = [(count, count) if other == axis else (0, 0) for other in range(3)]
        near = np.moveaxis(np.pad(mask, sides), axis, 0)
        wide, wanted = 1, 2 * count + 1
        while wide < wanted:  # each place tells of `wide` places from it on
            step = min(wide, wanted - wide)
            near = near[:-step] | near[step:]
            wide += step
        mask = np.moveaxis(near, 0, axis)
    return mask
