"""A volume of DICOM: the image planes of a series, or of a part of one, in order along their normal."""

from dataclasses import dataclass, field
from itertools import permutations, product

import numpy as np

from volseg.data.layouts.dicom.image_plane import ImagePlane
from volseg.data.volume import Affine, Array, Volume, turned_like

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class DicomSeries:
    """Image planes of one grid, in order along their normal; `name` tells no patient.

    Voxels (X, Y, Z) are in the order that dcm2niix writes. X is the column, Y the row counted from the last
    one, Z the plane along the normal; of a series `acquired_in_3d` the axes are then exchanged and reversed
    so that they run to the patient's right, front and head as nearly as they can. A series without a
    frame of reference has the UID ''.
    """

    name: str
    modality: str
    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    planes: tuple[ImagePlane, ...]
    acquired_in_3d: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(X, Y, Z) of the volume's voxels."""
        x, y, z = self.empty_volume.voxels.shape
        return x, y, z

    @property
    def affine(self) -> Affine:
        """The affine (4, 4) from voxel index to RAS+ mm."""
        return self.empty_volume.affine

    def volume_of_planes(self, pixels: Array) -> Volume:
        """The volume of pixels (planes, rows, columns)."""
        volume = Volume(pixels.transpose(2, 1, 0)[:, ::-1], self._stack_affine())
        return _turned_to_axes(volume) if self.acquired_in_3d else volume

    def planes_of_volume(self, volume: Volume) -> Array | None:
        """Pixels (planes, rows, columns) of a volume on this grid, whatever the order of its axes.

        None for a volume on another grid; nothing is resampled.
        """
        first = self.planes[0]
        shape = first.columns, first.rows, len(self.planes)
        stack = Volume(np.broadcast_to(np.uint8(0), shape), self._stack_affine())
        turned = turned_like(volume, stack)
        return None if turned is None else turned.voxels[:, ::-1].transpose(2, 1, 0)

    @property
    def empty_volume(self) -> Volume:
        """A volume on this grid that takes no memory."""
        first = self.planes[0]
        return self.volume_of_planes(
            np.broadcast_to(np.uint8(0), (len(self.planes), first.rows, first.columns))
        )

    def _stack_affine(self) -> Affine:
        """The affine (4, 4) from column, row counted from the last, and plane to RAS+ mm."""
        first, last = self.planes[0], self.planes[-1]
        lps = np.eye(4)
        lps[:3, 0] = np.multiply(first.row_direction, first.column_spacing_mm)
        lps[:3, 1] = -np.multiply(first.column_direction, first.row_spacing_mm)
        lps[:3, 2] = np.subtract(last.position, first.position) / (len(self.planes) - 1)
        lps[:3, 3] = first.points_at(np.array(0), np.array(first.rows - 1))
        return LPS_TO_RAS @ lps


def _turned_to_axes(volume: Volume) -> Volume:
    """The volume with its axes exchanged and reversed as near to RAS+ as they come; nothing is resampled.

    The first voxel is the corner that is nearest to the left, back and bottom of the box around all corners.
    """
    last = np.array(volume.voxels.shape) - 1
    ends = np.array([*product((0, 1), repeat=3)])
    corners = (ends * last) @ volume.affine[:3, :3].T
    first = ends[np.linalg.norm(corners - corners.min(axis=0), axis=1).argmin()]
    steps = 1 - 2 * first
    turn = np.eye(4)
    turn[:3, :3] = np.diag(steps)
    turn[:3, 3] = first * last
    affine = volume.affine @ turn
    axes = max(
        permutations(range(3)), key=lambda axes: sum(affine[row, axis] for row, axis in enumerate(axes))
    )
    voxels = volume.voxels[tuple(slice(None, None, int(step)) for step in steps)].transpose(axes)
    return Volume(voxels, affine[:, [*axes, 3]])
