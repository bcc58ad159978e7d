"""A volume: voxels with the affine to the patient's world (NIfTI, RAS+ mm)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """Voxels (X, Y, Z) = (column, row, slice) and the affine (4, 4) from voxel index to RAS+ mm."""

    voxels: Array
    affine: Affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along X, Y, Z in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def same_grid(self, other: "Volume") -> bool:
        """Whether both have one shape and one affine, to a thousandth of a mm."""
        same_shape = self.voxels.shape == other.voxels.shape
        return same_shape and np.allclose(self.affine, other.affine, atol=1e-3, rtol=0)

    def with_voxels(self, voxels: Array) -> "Volume":
        """A volume of other voxels of the same shape on this grid."""
        return Volume(voxels, self.affine)


def stack_affine(pixel_mm: tuple[float, float], slice_mm: float) -> Affine:
    """The affine (4, 4) of a stack: columns run to the patient's left, rows to the back, slices down."""
    return np.diag([-pixel_mm[0], -pixel_mm[1], -slice_mm, 1.0])


SMALLEST_MM, LARGEST_MM = 1e-3, 1e3  # of a voxel's sides; beyond them is a slip of the pen
