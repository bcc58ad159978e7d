"""The place of a patch's voxels in a scan, in whole parts of a voxel, which are the same on every device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from volseg.data.volume import Array

FINE_BITS = 16  # places along single axes are told in parts of 1 / 2^16 voxel, before they are added up
CONTROL_PARTS = 1 << 8  # parts of a voxel in which control points are told
WEIGHT_PARTS = 1 << 11  # parts of 1 in which the weights of control points are told


class AxisPlaces(NamedTuple):
    """Summands int32 (3, X), (3, Y), (3, Z) of the places of a patch's voxels, in 1 / 2^FINE_BITS voxel.

    Voxel (x, y, z) lies at the sum of three of them.
    """

    x: Array
    y: Array
    z: Array


class BendWeights(NamedTuple):
    """A bend's control points (3, I, J, K) and their weights (X, I), (Y, J), (Z, K), float64.

    All are whole multiples of powers of two with so few digits that sums of their products are exact in
    float64, whatever their order, for displacements of up to 512 voxels.
    """

    controls: Array
    x: Array
    y: Array
    z: Array


@dataclass(frozen=True)
class PatchFrame:
    """A patch of `size` voxels (X, Y, Z), whose first voxel is `start` in the scan before augmentation.

    Patch voxel p lies at start + centre + matrix @ (p - centre) + bend(p), in voxels of the scan.
    `bend` holds control points (3, I, J, K), spread evenly from corner to corner.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    matrix: Array | None = None
    bend: Array | None = None

    def with_matrix(self, matrix: Array) -> "PatchFrame":
        """The frame transformed by a matrix (3, 3) about its centre."""
        return replace(self, matrix=matrix if self.matrix is None else self.matrix @ matrix)

    @property
    def flipped_axes(self) -> tuple[int, ...] | None:
        """The flipped axes; None where the frame is rotated, zoomed or bent as well."""
        if self.bend is not None:
            return None
        if self.matrix is None:
            return ()
        if not np.array_equal(np.abs(self.matrix), np.eye(3)):
            return None
        return tuple(np.flatnonzero(self.matrix.diagonal() < 0).tolist())

    @property
    def keeps_columns(self) -> bool:
        """Whether voxels with the same x and y come from a column along z, the same for all z."""
        matrix = np.eye(3) if self.matrix is None else self.matrix
        return self.bend is None and not matrix[2, :2].any() and not matrix[:2, 2].any()

    def axis_places(self, low: Sequence[int] = (0, 0, 0)) -> AxisPlaces:
        """The places of the voxels from the scan's voxel `low`, without the bend."""
        matrix = np.eye(3) if self.matrix is None else self.matrix
        centre = (np.array(self.size) - 1) / 2
        x, y, z = (np.arange(n) - c for n, c in zip(self.size, centre, strict=True))
        of_x = matrix[:, :1] * x + (self.start + centre - low)[:, None]
        summands = (of_x, matrix[:, 1:2] * y, matrix[:, 2:] * z)
        return AxisPlaces(*(np.round(one * (1 << FINE_BITS)).astype(np.int32) for one in summands))

    def bend_weights(self) -> BendWeights:
        """The control points of the bend and their weights."""
        if self.bend is None:
            message = "a frame without a bend has no control points"
            raise ValueError(message)
        controls = np.round(self.bend * CONTROL_PARTS) / CONTROL_PARTS
        counts = self.bend.shape[1:]
        return BendWeights(controls, *(spline_weights(n, c) for n, c in zip(self.size, counts, strict=True)))

    def source_box(self, shape: Sequence[int]) -> tuple[slice, ...]:
        """The box of a scan of this shape (X, Y, Z) that the patch is made of; it may be empty."""
        places = self.axis_places()
        low, high = (sum(end(one, axis=1) for one in places) / (1 << FINE_BITS) for end in (np.min, np.max))
        if self.bend is not None:
            least, most = _bend_range(self.bend_weights())
            low, high = low + least, high + most
        firsts = np.maximum(np.floor(low).astype(int), 0)
        lasts = np.minimum(np.floor(high).astype(int) + 2 - (self.flipped_axes is not None), shape)
        return tuple(slice(int(a), max(int(a), int(b))) for a, b in zip(firsts, lasts, strict=True))


def spline_weights(size: int, controls: int) -> Array:
    """The cubic B-spline weight of each control point in each voxel: float64 (size, controls).

    Independent control points of variance 1 give a field of variance 1 everywhere.
    """
    position = np.linspace(0, controls - 1, size)[:, None]
    distance = np.abs(position - np.arange(controls))
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    rounded: Array = np.round(weights * WEIGHT_PARTS) / WEIGHT_PARTS
    return rounded


def _bend_range(weights: BendWeights) -> tuple[Array, Array]:
    """Bounds (3,) of the displacement along each axis, from below and above, in voxels."""
    planes = weights.y @ (weights.controls @ weights.z.T)  # (3, I, Y, Z)
    largest = weights.x.sum(axis=1).max()  # weights are not negative
    return (
        largest * np.minimum(planes.min(axis=(1, 2, 3)), 0),
        largest * np.maximum(planes.max(axis=(1, 2, 3)), 0),
    )
