"""A mask with all that contours get wrong, on small series of DICOM in any orientation."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.dicom_series import write_series
from volseg.data.layouts.dicom.find import open_series
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.dicom.organ_codes import OrganTable
from volseg.dicom.rtstruct import OrganMask

SHAPE = (14, 48, 64)
SALT = b"of the tests"
Mask = npt.NDArray[np.bool_]


def geometry_mask() -> Mask:
    """The mask (planes, rows, columns) of the geometry phantom; the first and last planes are empty."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:12, 8:34, 10:40] = True  # an organ
    mask[2:12, 14:26, 16:30] = False  # a hole in it
    mask[2:12, 18:22, 20:25] = True  # an island in the hole
    mask[4:9, 19, 22] = False  # a hole of one voxel in the island
    mask[3:11, 40, 50] = True  # one voxel
    mask[3:11, 42, 55:57] = True  # two voxels
    mask[5, 36, 45:58] = True  # a line one voxel thick
    mask[6, 30:45, 60] = True
    mask[5:9, 2:5, 45:48] = True  # two blocks that touch by a corner
    mask[5:9, 5:8, 48:51] = True
    mask[5:9, 10:14, 44:52] = True  # a block with a hole that touches the outside by a corner
    mask[5:9, 11, 45:48] = False
    mask[5:9, 10, 48] = False
    mask[3:6, :4, :5] = True  # corners of the image
    mask[3:6, -3:, -2:] = True
    mask[7, 30:32, 12:15] = False  # holes beside each other, above each other and by a corner
    mask[7, 30, 16] = mask[7, 31, 17] = mask[7, 32, 12] = False
    return mask


def overlapping_masks() -> list[Mask]:
    """Three masks that overlap each other, one of them the phantom."""
    ball, block = np.zeros((2, *SHAPE), dtype=bool)
    planes, rows, columns = np.indices(SHAPE)
    ball[(planes - 6) ** 2 * 4 + (rows - 20) ** 2 + (columns - 30) ** 2 < 120] = True
    block[4:10, 15:30, 25:60] = True
    return [geometry_mask(), ball, block]


def phantom_series(folder: Path, **settings: object) -> DicomSeries:
    """A series of DICOM in a folder, as `write_series` writes it."""
    write_series(folder, **settings)  # type: ignore[arg-type]
    return open_series(folder, salt=SALT)


def organ_masks(masks: dict[str, Mask]) -> list[OrganMask]:
    """Masks with the codes of their classes."""
    codes = OrganTable().codes_of(masks)
    return [OrganMask(name, codes[name], mask) for name, mask in masks.items()]
