"""The box around the patient: what of a scan is worth a network's time; the air around is not.

A voxel is bright if it is an eighth of the way from the volume's darkest to its bright ones, and a
cube of three samples a side is body if three quarters of it are bright. So noise and lone bright
voxels in the air are no body, and what is as thick as a finger is. Where in doubt, all is kept.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from volseg.arrays import Box, bounding_box
from volseg.data.volume import Array

# Quantiles, as some voxels are damaged. Fluid, metal or contrast that outshines the tissue, in up to
# a twentieth of the volume, must not make tissue look like air.
DARKEST, BRIGHT = 0.02, 0.95
LEVEL = 1 / 8
SIDE = 3  # samples along a cube's edge
MOST = 0.75  # of a cube's samples; by chance it is once in two million if 0.3 of all are bright
SAMPLES = 160  # along an axis at most, so that time and memory are bounded: 2.5 mm apart on 400 mm
FEWER = 48  # along an axis at most, for the quantiles


def body_box(channels: Sequence[Array], spacing_mm: Sequence[float], *, margin_mm: float = 10.0) -> Box:
    """The box outside which there is only air in every channel, and `margin_mm` of the air around it.

    It is the whole volume where there is no clear air: a volume cut out of a body, one with strong
    noise up to its edges, a constant one. The grey values' unit and offset do not matter, but tissue
    must be brighter than air. The very tip of a body, too small for a cube of samples, is not seen;
    it lies in the margin.

    Args:
        channels: one or more images (X, Y, Z) of one shape, in any numeric type and memory order.
        spacing_mm: a voxel's size along X, Y, Z in mm.
        margin_mm: how much air to keep at each side, rounded up to whole voxels.
    """
    shape = channels[0].shape
    boxes = [_channel_box(channel) for channel in channels]
    x, y, z = (
        _enclosing_slice([box[axis] for box in boxes], math.ceil(margin_mm / spacing_mm[axis]), shape[axis])
        for axis in range(3)
    )
    return x, y, z


def _enclosing_slice(sides: Sequence[slice], margin: int, length: int) -> slice:
    """The one slice around several, wider by a margin at both ends, within the volume."""
    first, last = min(side.start for side in sides), max(side.stop for side in sides)
    return slice(max(0, first - margin), min(length, last + margin))


def _channel_box(voxels: Array) -> Box:
    """The box around one channel's body, or the whole channel, as slices along its axes."""
    axes = np.argsort([-abs(stride) for stride in voxels.strides])  # the way it lies in memory
    found = _box_in_memory_order(voxels.transpose(axes))
    x, y, z = (found[place] for place in np.argsort(axes))
    return x, y, z


def _box_in_memory_order(voxels: Array) -> Box:
    body = _mostly_bright(_above_level(_sample_evenly(voxels, SAMPLES), _bright_level(voxels)))
    cubes = bounding_box(body)
    if not body[cubes].size:
        cubes = bounding_box(np.ones_like(body))
    x, y, z = (_cubes_to_voxels(side, length) for side, length in zip(cubes, voxels.shape, strict=True))
    return x, y, z


def _sample_evenly(voxels: Array, most: int) -> Array:
    """A copy of evenly spaced voxels, `most` (and one) along an axis: the same ones from either end."""
    x, y, z = (_sample_positions(length, most) for length in voxels.shape)
    thinned: Array = np.block([[[voxels[a, b, c] for c in z] for b in y] for a in x])
    return thinned


def _sample_positions(length: int, most: int) -> tuple[slice, slice]:
    """Evenly spaced places along an axis, mirrored at its middle, where two may lie one closer."""
    step = -(-length // most)
    gap = step - (length - 1 - step) % 2
    last = (length - 1 - gap) // 2  # of the first half
    after = last + (gap or step)
    return slice(last % step, last + 1, step), slice(after, length, step)


def _bright_level(voxels: Array) -> float:
    """The grey value above which a voxel is bright."""
    some = _sample_evenly(voxels, FEWER).ravel()
    low, high = math.floor(DARKEST * (some.size - 1)), math.ceil(BRIGHT * (some.size - 1))
    some.partition((low, high))
    return float(some[low]) + LEVEL * (float(some[high]) - float(some[low]))


def _above_level(voxels: Array, level: float) -> npt.NDArray[np.bool_]:
    """Which voxels are above a level; compared in their own type, so that none is converted."""
    if voxels.dtype.kind == "f":
        return np.asarray(voxels > voxels.dtype.type(level))
    return np.asarray(voxels > math.floor(level))


def _mostly_bright(bright: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which cubes of samples are mostly bright; one shorter than a cube along an axis is one cube."""
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


def _cubes_to_voxels(cubes: slice, length: int) -> slice:
    """The voxels along an axis from one range of cubes' first to their last, and up to the next samples."""
    places = [place for half in _sample_positions(length, SAMPLES) for place in range(length)[half]]
    last = cubes.stop - 1 + min(SIDE, len(places)) - 1
    before, after = places[: cubes.start], places[last + 1 :]
    return slice(before[-1] + 1 if before else 0, after[0] if after else length)
