"""The smallest box around a mask, so that work goes with the organ and not with the scan."""

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]


def bounding_box(mask: npt.NDArray[np.bool_]) -> Box:
    """The smallest box that holds every set voxel of a bool (X, Y, Z) mask; empty for an empty mask."""
    if mask.strides[0] < mask.strides[2]:  # whole planes are read as they lie in memory
        x, y, z = reversed(bounding_box(mask.T))
        return x, y, z
    along = np.asarray(mask.any(axis=(1, 2)))
    if not along.any():
        return slice(0, 0), slice(0, 0), slice(0, 0)
    x = _nonzero_range(along)
    plane = np.asarray(mask[x].any(axis=0))
    return x, _nonzero_range(plane.any(axis=1)), _nonzero_range(plane.any(axis=0))


def _nonzero_range(line: npt.ArrayLike) -> slice:
    """From the first set element to the last."""
    places = np.flatnonzero(line)
    return slice(int(places[0]), int(places[-1]) + 1)


IGNORE = 255
"""Counts neither for nor against: below the cut where `data.below_cut: ignore`."""
