"""Matrix sizes of the phantom's scans, and the patient's coordinates on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Box = tuple[slice, slice, slice]

SLICE_MM = 3.0  # as in the real set; not in the file name there either


@dataclass(frozen=True)
class ScanGrid:
    """Voxels (X, Y, Z) of `pixel_mm` by 3 mm; `top_mm` is the z of slice 0 in the patient.

    z = 0 is the top of the stomach's usual place; z grows towards the feet.
    """

    shape: tuple[int, int, int]
    pixel_mm: tuple[float, float]
    top_mm: float

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along X, Y, Z in mm."""
        return (*self.pixel_mm, SLICE_MM)


# The demo: bowel is 5 to 7 voxels wide. Depths aren't divisible by 16, on purpose.
SMALL = (ScanGrid((100, 84, 72), (4.0, 4.0), -22.0), ScanGrid((92, 76, 70), (4.4, 4.4), -20.0))

# The sizes of the real set.
FULL = (
    ScanGrid((266, 266, 144), (1.5, 1.5), -150.0),
    ScanGrid((360, 310, 144), (1.5, 1.5), -150.0),
    ScanGrid((276, 276, 80), (1.63, 1.63), -40.0),
    ScanGrid((234, 234, 144), (1.5, 1.5), -150.0),
)


@dataclass(frozen=True)
class PatientSpace:
    """A grid's voxel centres in the patient's mm: x to the left, y to the back, z to the feet.

    `x` is (X, 1, 1), `y` (1, Y, 1) and `z` (1, 1, Z): they broadcast to the volume.
    """

    x: Floats
    y: Floats
    z: Floats

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along X, Y, Z."""
        return self.x.size, self.y.size, self.z.size

    def box_around(self, centre: Floats, reach_mm: Floats) -> Box:
        """The box of voxels within `reach_mm` (3,) of `centre` (3,); it may be empty."""
        axes = (self.x.ravel(), self.y.ravel(), self.z.ravel())
        x, y, z = (
            slice(*np.searchsorted(axis, (middle - reach, middle + reach)).tolist())
            for axis, middle, reach in zip(axes, centre, reach_mm, strict=True)
        )
        return x, y, z

    def crop(self, box: Box) -> "PatientSpace":
        """The coordinates of a box."""
        return PatientSpace(self.x[box[0]], self.y[:, box[1]], self.z[:, :, box[2]])


def patient_space(grid: ScanGrid, shift_mm: Floats) -> PatientSpace:
    """Coordinates for a patient who lies `shift_mm` (3,) away from the middle of the table."""
    nx, ny, nz = grid.shape
    px, py, pz = grid.spacing_mm
    x = (np.arange(nx) - (nx - 1) / 2) * px - shift_mm[0]
    y = (np.arange(ny) - (ny - 1) / 2) * py - shift_mm[1]
    z = np.arange(nz) * pz + grid.top_mm - shift_mm[2]
    return PatientSpace(*np.ix_(x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)))
