"""Boxes around masks, and the label value that losses and metrics ignore."""

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]


def bounding_box(mask: npt.NDArray[np.bool_]) -> Box:
    """The smallest box around the voxels of a bool (X, Y, Z) mask; empty for an empty mask."""
    if mask.strides[0] < mask.strides[2]:  # planes are read as they lie in memory
        x, y, z = reversed(bounding_box(mask.T))
        return x, y, z
    along = np.asarray(mask.any(axis=(1, 2)))
    if not along.any():
        return slice(0, 0), slice(0, 0), slice(0, 0)
    x = _nonzero_range(along)
    plane = np.asarray(mask[x].any(axis=0))
    return x, _nonzero_range(plane.any(axis=1)), _nonzero_range(plane.any(axis=0))


def _nonzero_range(line: npt.ArrayLike) -> slice:
    """The range from the first nonzero element to the last."""
    indices = np.flatnonzero(line)
    return slice(int(indices[0]), int(indices[-1]) + 1)


IGNORE = 255  # the label of voxels without a say in losses and metrics, by `data.below_cut: ignore`
