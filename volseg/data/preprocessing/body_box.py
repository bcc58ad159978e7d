"""The box around the body, outside which a network need not look."""

import math
from collections.abc import Sequence

import numpy as np

from volseg.arrays import Box, bounding_box
from volseg.data.volume import Array
from volseg.postprocessing.body_mask import (
    SAMPLES,
    SIDE,
    bright_cubes,
    bright_level,
    is_above,
    sample_evenly,
    sample_positions,
)

LEVEL = (
    1 / 8
)  # of the way from dark to bright; faint signal of a coil in the air is below (benchmarks/body.py)


def body_box(channels: Sequence[Array], spacing_mm: Sequence[float], *, margin_mm: float = 10.0) -> Box:
    """The box around the body in all channels (X, Y, Z), and `margin_mm` of air, rounded up to whole voxels.

    It is the whole volume where there is no clear air: a volume cut out of a body, one with strong noise up
    to its edges, a constant one. Unit and offset of the grey values do not matter, but tissue must be
    brighter than air. The tip of a body, too small for a cube of samples, lies in the margin.
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
    box = _box_in_memory_order(voxels.transpose(axes))
    x, y, z = (box[position] for position in np.argsort(axes))
    return x, y, z


def _box_in_memory_order(voxels: Array) -> Box:
    body = bright_cubes(is_above(sample_evenly(voxels, SAMPLES), bright_level(voxels, LEVEL)))
    cubes = bounding_box(body if body.any() else np.ones_like(body))
    x, y, z = (_cubes_to_voxels(side, length) for side, length in zip(cubes, voxels.shape, strict=True))
    return x, y, z


def _cubes_to_voxels(cubes: slice, length: int) -> slice:
    """The voxels along an axis from one range of cubes' first to their last, and up to the next samples."""
    places = [place for half in sample_positions(length, SAMPLES) for place in range(length)[half]]
    last = cubes.stop - 1 + min(SIDE, len(places)) - 1
    before, after = places[: cubes.start], places[last + 1 :]
    return slice(before[-1] + 1 if before else 0, after[0] if after else length)
