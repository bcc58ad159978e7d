"""The traits by which a scan can be strange to a network: its voxels, how much of a body, its grey values."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from volseg.data.preprocessing.body_box import LEVEL, body_box
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.intensity_scaling import Intensity, scale_intensities
from volseg.data.volume import Array, Volume
from volseg.postprocessing.body_mask import bright_level, is_above, sample_evenly

SAMPLES = 64  # along an axis at most: quantiles need no more
QUANTILES = tuple(range(5, 100, 10))
CT_FAT = -50.0
"""Fat and air lie below this value in the Hounsfield units of a CT, and hardly anything does in an MR."""

Axes = tuple[float, float, float]
"""A value along each axis of the patient: from left to right, from front to back, from head to feet."""
Curve = Annotated[tuple[float, ...], Field(min_length=len(QUANTILES), max_length=len(QUANTILES))]
"""QUANTILES of the grey values of tissue in one channel."""


class ScanTraits(NamedTuple):
    """A scan's voxel size, the size of the body in it, both in mm, and what its grey values are like.

    `negative` is the share of voxels below CT_FAT, in the first channel; `grey` has a curve a channel, as the
    network sees it: 0 and 1 are the ends of a run's scaling.
    """

    spacing_mm: Axes
    body_mm: Axes
    negative: float
    grey: tuple[Curve, ...]


def measure_traits(channels: Sequence[Volume], intensity: Intensity) -> ScanTraits:
    """The traits of a scan's channels by a run's scaling; they do not depend on how its axes are stored.

    Raises:
        UserError: voxels that are no numbers.
    """
    grid = NetworkGrid.from_volume(channels[0], None)
    first = grid.orient(channels[0].voxels)
    x, y, z = body_box([first], grid.oriented_mm, margin_mm=0.0)
    left, front, head = grid.oriented_mm
    return ScanTraits(
        spacing_mm=grid.oriented_mm,
        body_mm=((x.stop - x.start) * left, (y.stop - y.start) * front, (z.stop - z.start) * head),
        negative=float((sample_evenly(first, SAMPLES) < CT_FAT).mean()),
        grey=tuple(_grey_curve(channel.voxels, intensity) for channel in channels),
    )


def _grey_curve(voxels: Array, intensity: Intensity) -> Curve:
    """The curve of what is brighter than air, of which another field of view has another share."""
    some = sample_evenly(voxels, SAMPLES)
    bright = some[is_above(some, bright_level(some, LEVEL))]
    scaled = scale_intensities(bright if bright.size else some.ravel(), intensity.levels(some))
    return tuple(np.percentile(scaled, QUANTILES).round(3).tolist())
