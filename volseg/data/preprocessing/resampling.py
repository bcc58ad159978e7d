"""Linear interpolation between grids over the same box, as a matrix product for each axis.

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
    """Weights (new, old) of the old voxels in each new one along an axis; rows add up to 1."""
    centres = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
    below = np.minimum(centres.astype(np.intp), max(0, old - 2))
    part = centres - below
    weights = np.zeros((new, old), np.float32)
    weights[np.arange(new), below] = 1 - part
    weights[np.arange(new), np.minimum(below + 1, old - 1)] += part.astype(np.float32)
    weights.setflags(write=False)
    return weights


def resample_volume(values: Floats, shape: Sequence[int]) -> Floats:
    """Values (X, Y, Z) on a grid of another shape over the same box."""
    return apply_matrices(values, list(map(interpolation_matrix, values.shape, shape)))


def apply_matrices(values: Floats, matrices: Sequence[Floats | None]) -> Floats:
    """Values (X, Y, Z) times a matrix (new, old) for each axis or None; the axis that shrinks most first."""
    present = [(matrix, axis) for axis, matrix in enumerate(matrices) if matrix is not None]
    for matrix, axis in sorted(present, key=lambda pair: pair[0].shape[0] / max(1, pair[0].shape[1])):
        if not is_identity(matrix):
            values = _axis_product(matrix, values, axis)
    return values


def source_range(weights: Floats) -> slice:
    """The range of old voxels with a weight in any row of a matrix (new, old)."""
    used = np.flatnonzero(weights.any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)


def is_identity(weights: Floats) -> bool:
    """Whether a matrix (new, old) is the identity."""
    new, old = weights.shape
    return new == old and bool((weights.diagonal() == 1).all())


def _axis_product(weights: Floats, values: Floats, axis: int) -> Floats:
    x, y, z = values.shape
    if axis == 0:
        return (weights @ values.reshape(x, -1)).reshape(-1, y, z)
    product: Floats = np.matmul(weights, values) if axis == 1 else values @ weights.T
    return product
