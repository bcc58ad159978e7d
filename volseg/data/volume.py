"""A volume: voxels with the affine to the patient's world (NIfTI, RAS+ mm)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.formatting import format_size

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
SAME_GRID = 0.05  # of a voxel: other tools round voxel sizes and origins, and no mask moves by that
ROUNDING = 1e-4  # of a voxel: what storing an affine in 32 bits changes


@dataclass(frozen=True)
class NiftiPlace:
    """What a NIfTI header says of its grid's place, as it stands there, in the header's own unit.

    Masks keep it, so that they lie on their image for readers that go by the qform, too.
    """

    qform_code: int
    sform_code: int
    pixdim: tuple[float, ...]
    quaternion: tuple[float, ...]
    offset: tuple[float, ...]
    sform: tuple[tuple[float, ...], ...]
    unit: int


@dataclass(frozen=True)
class Volume:
    """Voxels (X, Y, Z) = (column, row, slice) and the affine (4, 4) from voxel index to RAS+ mm.

    `place` is what the NIfTI header says that the voxels were read from, if any.
    """

    voxels: Array
    affine: Affine
    place: NiftiPlace | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along X, Y, Z in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def same_grid(self, other: "Volume") -> bool:
        """Whether both have one shape and lie in one place, to SAME_GRID of a voxel at every corner."""
        return self.grid_distance(other) <= SAME_GRID

    def grid_distance(self, other: "Volume") -> float:
        """How far the farthest corner of the other grid lies from this one's, in voxels of this one.

        Infinite for another shape.
        """
        if self.voxels.shape != other.voxels.shape:
            return math.inf
        return affine_distance(self.affine, other.affine, self.voxels.shape)

    def with_voxels(self, voxels: Array) -> "Volume":
        """A volume of other voxels of the same shape on this grid."""
        return Volume(voxels, self.affine, self.place)

    @property
    def grid_text(self) -> str:
        """Shape and affine, for messages."""
        rows = ", ".join(f"[{' '.join(f'{n:.6g}' for n in row)}]" for row in self.affine[:3])
        return f"shape {format_size(self.voxels.shape)}, affine {rows}"


def turned_like(volume: Volume, reference: Volume) -> Volume | None:
    """The volume with its axes exchanged and reversed such that it lies on the reference's grid.

    No voxel is resampled. None where no turn of axes does it.
    """
    ratios = np.linalg.solve(reference.affine, volume.affine)[:3, :3]  # from its axes to the reference's
    turn = np.rint(ratios)
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        return None
    axes = np.abs(turn).argmax(axis=1)
    steps = turn[np.arange(3), axes]
    voxels = volume.voxels.transpose(axes)[tuple(slice(None, None, int(step)) for step in steps)]
    last = np.asarray(voxels.shape) - 1
    back = np.diag([0.0, 0, 0, 1])  # from the turned voxels to those of the volume
    back[axes, np.arange(3)] = steps
    back[axes, 3] = np.where(steps < 0, last, 0)
    turned = Volume(voxels, volume.affine @ back)
    return turned if turned.same_grid(reference) else None


def affine_distance(affine: Affine, other: Affine, shape: Sequence[int]) -> float:
    """How far the farthest corner of a grid of this shape moves from one affine to the other, in voxels."""
    corners = np.array([*product(*((0, length - 1) for length in shape))]).T
    moved = np.linalg.solve(affine, other - affine) @ np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(moved[:3], axis=0).max())


def stack_affine(pixel_mm: tuple[float, float], slice_mm: float) -> Affine:
    """The affine (4, 4) of a stack: columns run to the patient's left, rows to the back, slices down."""
    return np.diag([-pixel_mm[0], -pixel_mm[1], -slice_mm, 1.0])


SMALLEST_MM, LARGEST_MM = 1e-3, 1e3  # of a voxel's sides; beyond them is a slip of the pen
