"""An image plane of DICOM: one slice with its place in the patient, of a file or of a frame in one."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from volseg.data.volume import Array

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class ImagePlane:
    """A slice of `rows` x `columns` pixels; lengths in mm, places in DICOM's LPS+ patient coordinates.

    `position` is the centre of the first pixel, `row_direction` points along a row (to the next column) and
    `column_direction` down a column (to the next row). `frame` counts from 1 within a multi-frame file and is
    None for a file of one slice. `rescale` is the slope and intercept from stored values to those of the
    volume.
    """

    path: Path = field(repr=False)
    frame: int | None
    sop_class_uid: str
    sop_instance_uid: str = field(repr=False)
    rows: int
    columns: int
    position: Vector
    row_direction: Vector
    column_direction: Vector
    row_spacing_mm: float
    column_spacing_mm: float
    rescale: tuple[float, float] = (1.0, 0.0)

    @property
    def normal(self) -> Array:
        """The unit vector across the plane: along a row x down a column."""
        return np.cross(self.row_direction, self.column_direction)

    @property
    def distance_mm(self) -> float:
        """How far along the normal the plane lies."""
        return float(np.dot(self.normal, self.position))

    def points_at(self, columns: Array, rows: Array) -> Array:
        """Points (N, 3) in LPS+ mm at columns and rows; 0 is the centre of the first pixel, -0.5 its edge."""
        along_row = np.multiply(self.row_direction, self.column_spacing_mm)
        down_column = np.multiply(self.column_direction, self.row_spacing_mm)
        return (
            np.asarray(self.position)
            + np.multiply.outer(columns, along_row)
            + np.multiply.outer(rows, down_column)
        )
