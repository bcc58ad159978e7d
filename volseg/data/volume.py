"""A volume: voxels with the affine to the patient's world (NIfTI, RAS+ mm)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.formatting import format_size

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
SAME_GRID = 0.05  # of a voxel: other tools round voxel sizes and origins, and no mask moves by that
FLAT = 1e-3  # of the volume that a voxel of these sides has: its axes lie in a plane
NIFTI_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
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

    def affines_mm(self) -> Iterator[Affine]:
        """The affines of the sform and the qform, of those that are set and can be a volume's."""
        from nibabel.quaternions import fillpositive, quat2mat

        if self.sform_code:
            yield from _usable(self.sform, NIFTI_UNITS_MM[self.unit])
        if self.qform_code and np.square(self.quaternion).sum() <= 1 + ROUNDING:
            sizes = np.array(self.pixdim[1:4]) * (1, 1, -1 if self.pixdim[0] < 0 else 1)
            turn = quat2mat(fillpositive(np.array(self.quaternion), -ROUNDING)) * sizes
            yield from _usable(np.column_stack([turn, self.offset]), NIFTI_UNITS_MM[self.unit])


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
    """The volume, its axes exchanged and reversed such that it lies on the reference's grid.

    No voxel is resampled; a volume on that grid is returned as it is. None where no turn of axes does it.
    Where qform and sform of the reference's header disagree, a volume that lies on the other one was drawn
    by a program that goes by it, and fits as well.
    """
    if volume.same_grid(reference):
        return volume
    turned = _turned_onto(volume, reference.affine, reference.voxels.shape)
    if turned is None and reference.place:
        for affine in reference.place.affines_mm():
            other = _turned_onto(volume, affine, reference.voxels.shape)
            turned = turned or (other and Volume(other.voxels, reference.affine))
    return turned


def _turned_onto(volume: Volume, affine: Affine, shape: tuple[int, ...]) -> Volume | None:
    """The volume with its axes turned to those of an affine, if it is then the grid of this shape."""
    ratios = np.linalg.solve(affine, volume.affine)[:3, :3]  # from its axes to the affine's
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
    fits = voxels.shape == shape and affine_distance(affine, turned.affine, shape) <= SAME_GRID
    return turned if fits else None


def _usable(rows: npt.ArrayLike, unit_mm: float) -> Iterator[Affine]:
    """The affine of these three rows, if it is one of a volume."""
    affine: Affine = np.vstack([np.asarray(rows, dtype=np.float64) * unit_mm, (0, 0, 0, 1)])
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > FLAT * sizes.prod():
        yield affine


def affine_distance(affine: Affine, other: Affine, shape: Sequence[int]) -> float:
    """How far the farthest corner of a grid of this shape moves from one affine to the other, in voxels."""
    corners = np.array([*product(*((0, length - 1) for length in shape))]).T
    moved = np.linalg.solve(affine, other - affine) @ np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(moved[:3], axis=0).max())


def stack_affine(pixel_mm: tuple[float, float], slice_mm: float) -> Affine:
    """The affine (4, 4) of a stack: columns run to the patient's left, rows to the back, slices down."""
    return np.diag([-pixel_mm[0], -pixel_mm[1], -slice_mm, 1.0])


SMALLEST_MM, LARGEST_MM = 1e-3, 1e3  # of a voxel's sides; beyond them is a slip of the pen
