"""The body in an image: the rule that finds it, for a box around it and for a mask.

A voxel is bright if it lies above a share of the way from the image's 2nd to its 95th percentile, and a cube
of three samples a side belongs to the body if 21 of its 27 are bright. So noise and lone bright voxels in the
air are no body, and what is as thick as a finger is. An image without such a cube is all body.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.postprocessing.connected_components import Mask, fill_holes

Voxels = npt.NDArray[Any]
# Quantiles, as some voxels are damaged. Fluid, metal or contrast that outshines the tissue, in up to
# a twentieth of the volume, must not make tissue look like air.
DARKEST, BRIGHT = 0.02, 0.95
TISSUE = 1 / 12
"""Share of the way from dark to bright that tissue exceeds: 1/8 loses labelled voxels far from the coil, 1/16
takes noise in the air for tissue (benchmarks/body.py)."""
SIDE = 3  # samples along a cube's edge
MOST = 0.75  # of a cube's samples; by chance it is once in two million if 0.3 of all are bright
SAMPLES = 160  # along an axis at most, so that time and memory are bounded: 2.5 mm apart on 400 mm
FEWER = 48  # along an axis at most, for the quantiles


@dataclass(frozen=True, eq=False)
class Body:
    """The body in an image (X, Y, Z), slices last: cubes of tissue, grown by `margin_mm`, their holes filled.

    They are grown along each axis, so as a box, and by whole voxels, rounded up. Holes are filled last, in
    each slice: a gap in the wall around air of the bowel, up to twice the margin wide, does not open it.
    """

    image: Voxels
    spacing_mm: tuple[float, float, float]
    margin_mm: float

    def mask_in_slices(self, z: slice) -> Mask:
        """The body in some of the slices, bool (X, Y, z.stop - z.start), as it is in all of them together."""
        if not self._has_cubes:
            return np.ones((*self.image.shape[:2], z.stop - z.start), bool)
        reach = [math.ceil(self.margin_mm / mm) for mm in self.spacing_mm]
        first = max(0, z.start - reach[2] - SIDE + 1)
        near = self.image[:, :, first : z.stop + reach[2] + SIDE - 1]
        body = cover_cubes(bright_cubes(is_above(near, self._level)), near.shape, reach)
        return fill_holes(body[:, :, z.start - first : z.stop - first], in_slices=True)

    @cached_property
    def _level(self) -> float:
        return bright_level(self.image, TISSUE)

    @cached_property
    def _has_cubes(self) -> bool:
        return bool(bright_cubes(is_above(sample_evenly(self.image, SAMPLES), self._level)).any())


def bright_level(voxels: Voxels, share: float) -> float:
    """The grey value at a share of the way from the darkest to the bright voxels of an image (X, Y, Z)."""
    some = sample_evenly(voxels, FEWER).ravel()
    low, high = math.floor(DARKEST * (some.size - 1)), math.ceil(BRIGHT * (some.size - 1))
    some.partition((low, high))
    return float(some[low]) + share * (float(some[high]) - float(some[low]))


def is_above(voxels: Voxels, level: float) -> Mask:
    """Which voxels are above a level; compared in their own type, so that none is converted."""
    if voxels.dtype.kind == "f":
        return np.asarray(voxels > voxels.dtype.type(level))
    return np.asarray(voxels > math.floor(level))


def bright_cubes(bright: Mask) -> Mask:
    """Which cubes are mostly bright, bool, by the first voxel of each: (X - 2, Y - 2, Z - 2).

    One cube covers an axis that is shorter than a cube.
    """
    count = bright.view(np.uint8)  # 27 at most
    size = 1
    for axis, length in enumerate(bright.shape):
        side = min(SIDE, length)
        across = np.moveaxis(count, axis, 0)
        row = across[: length - side + 1].copy(order="K")
        for start in range(1, side):
            row += across[start : start + length - side + 1]
        count = np.moveaxis(row, 0, axis)
        size *= side
    return np.asarray(count >= math.ceil(MOST * size))


def cover_cubes(cubes: Mask, shape: Sequence[int], reach: Sequence[int]) -> Mask:
    """The mask (X, Y, Z) of all voxels in these cubes or within so many voxels of one along each axis."""
    for axis, (length, count) in enumerate(zip(shape, reach, strict=True)):
        beyond = length - cubes.shape[axis] + count
        sides = [(beyond, beyond) if other == axis else (0, 0) for other in range(3)]
        near = np.moveaxis(np.pad(cubes, sides), axis, 0)
        wide, wanted = 1, beyond + count + 1
        while wide < wanted:  # each place tells of `wide` places from it on
            step = min(wide, wanted - wide)
            near = near[:-step] | near[step:]
            wide += step
        cubes = np.moveaxis(near, 0, axis)
    return cubes


def sample_evenly(voxels: Voxels, most: int) -> Voxels:
    """A copy of evenly spaced voxels, `most` (and one) along an axis: the same ones from either end."""
    x, y, z = (sample_positions(length, most) for length in voxels.shape)
    thinned: Voxels = np.block([[[voxels[a, b, c] for c in z] for b in y] for a in x])
    return thinned


def sample_positions(length: int, most: int) -> tuple[slice, slice]:
    """Evenly spaced places along an axis, mirrored at its middle, where two may lie one closer."""
    step = -(-length // most)
    gap = step - (length - 1 - step) % 2
    last = (length - 1 - gap) // 2  # of the first half
    after = last + (gap or step)
    return slice(last % step, last + 1, step), slice(after, length, step)
