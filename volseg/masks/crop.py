"""The smallest box around a mask, so that work goes with the organ and not with the scan."""

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]


def bounding_box(mask: npt.NDArray[np.bool_]) -> Box:
    """The smallest box that holds every set voxel of a bool (X, Y, Z) mask; empty for an empty mask."""
    sides: list[slice] = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(mask[tuple(sides)].any(axis=others))  # within the box so far
        if not places.size:
            return slice(0, 0), slice(0, 0), slice(0, 0)
        sides.append(slice(int(places[0]), int(places[-1]) + 1))
    return sides[0], sides[1], sides[2]
