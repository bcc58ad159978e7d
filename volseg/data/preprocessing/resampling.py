"""Linear interpolation between grids that cover the same box, as a matrix product for each axis.

Voxel borders are aligned and the outermost voxels repeated: scipy's `zoom` of order 1 with
`grid_mode` and `nearest`.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@lru_cache(maxsize=32)
def interpolation_matrix(old: int, new: int) -> Floats:
    """What each of `new` voxels along an axis takes of the `old` ones: (new, old), rows add up to 1."""
    centres = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
    below = np.minimum(centres.astype(np.intp), max(0, old - 2))
    part = centres - below
    weights = np.zeros((new, old), np.float32)
    weights[np.arange(new), below] = 1 - part
    weights[np.arange(new), np.minimum(below + 1, old - 1)] += part.astype(np.float32)
    weights.setflags(write=False)
    return weights


def resample_volume(values: Floats, shape: Sequence[int]) -> Floats:
    """(X, Y, Z) on another grid over the same box."""
    return apply_matrices(
        values, [interpolation_matrix(old, new) for old, new in zip(values.shape, shape, strict=True)]
    )


def apply_matrices(values: Floats, matrices: Sequence[Floats | None]) -> Floats:
    """(X, Y, Z) times a matrix (new, old) for each axis that has one; what shrinks most comes first."""
    present = [(one, axis) for axis, one in enumerate(matrices) if one is not None]
    for one, axis in sorted(present, key=lambda pair: pair[0].shape[0] / max(1, pair[0].shape[1])):
        if not is_identity(one):
            values = _axis_product(one, values, axis)
    return values


def source_range(weights: Floats) -> slice:
    """The voxels that the rows of a matrix take anything of."""
    taken = np.flatnonzero(weights.any(axis=0))
    return slice(int(taken[0]), int(taken[-1]) + 1) if taken.size else slice(0, 0)


def is_identity(weights: Floats) -> bool:
    """Whether it is the identity."""
    new, old = weights.shape
    return new == old and bool((weights.diagonal() == 1).all())


def _axis_product(weights: Floats, values: Floats, axis: int) -> Floats:
    x, y, z = values.shape
    if axis == 0:
        return (weights @ values.reshape(x, -1)).reshape(-1, y, z)
    product: Floats = np.matmul(weights, values) if axis == 1 else values @ weights.T
    return product
