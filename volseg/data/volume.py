"""A volume: voxels on a grid that knows its place in the patient (NIfTI, RAS+ millimetres)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.atomic import replacing
from volseg.errors import UserError

Array = npt.NDArray[Any]
TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Volume:
    """Voxels (X, Y, Z) = (column, row, slice) and the affine (4, 4) from voxel index to RAS+ mm."""

    voxels: Array
    affine: npt.NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along X, Y, Z in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def same_grid(self, other: "Volume") -> bool:
        """Whether both have one shape and one affine (to a thousandth of a mm)."""
        return self.voxels.shape == other.voxels.shape and np.allclose(
            self.affine, other.affine, atol=TOLERANCE_MM, rtol=0
        )

    def with_voxels(self, voxels: Array) -> "Volume":
        """Other voxels of the same shape on this grid."""
        return Volume(voxels, self.affine)

    def write(self, path: Path) -> None:
        """Write NIfTI atomically, keeping the voxels' type; `.nii.gz` is compressed.

        Raises:
            UserError: the disk is full or the folder can't be written.
        """
        import nibabel

        image = nibabel.nifti1.Nifti1Image(self.voxels, self.affine)
        image.header.set_xyzt_units("mm")
        with replacing(path) as temporary:
            nibabel.save(image, temporary)


NIFTI = (".nii", ".nii.gz")


def read(path: Path) -> Volume:
    """Read a 3D volume with its stored type: NIfTI (scaled integers become float32), mha, nrrd ...

    Raises:
        UserError: missing, unreadable, truncated or not 3D.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a volume")
    try:
        volume = _read_nifti(path) if path.name.endswith(NIFTI) else _read_other(path)
    except MemoryError:
        raise
    except Exception as error:  # nibabel, zlib and ITK raise many kinds for a damaged file
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"{path}: not a readable volume ({reason[0]})") from error
    if volume.voxels.ndim != 3:
        raise UserError(f"{path}: has {volume.voxels.ndim} dimensions; expected a 3D volume")
    if volume.voxels.dtype.kind not in "biuf":
        raise UserError(f"{path}: its voxels are {volume.voxels.dtype}; expected one number each")
    if abs(np.linalg.det(volume.affine[:3, :3])) < 1e-9:
        raise UserError(f"{path}: its affine has no volume; expected voxel sizes above 0 mm")
    return volume


def shape(path: Path) -> tuple[int, ...]:
    """The shape a NIfTI file's header states, without reading its voxels.

    Raises:
        UserError: missing or unreadable.
    """
    import nibabel

    if not path.is_file():
        raise UserError(f"{path}: no such file; run `volseg prepare` again")
    try:
        return tuple(nibabel.nifti1.Nifti1Image.from_filename(path).shape)
    except Exception as error:  # as in `read`
        raise UserError(f"{path}: not a readable volume ({type(error).__name__})") from error


def _read_nifti(path: Path) -> Volume:
    import nibabel

    image = nibabel.nifti1.Nifti1Image.from_filename(path)
    slope, intercept = image.header.get_slope_inter()
    plain = (slope, intercept) in ((None, None), (1.0, 0.0))
    voxels = np.asarray(image.dataobj) if plain else image.get_fdata(dtype=np.float32)
    return Volume(voxels, np.asarray(image.affine, dtype=np.float64))


def _read_other(path: Path) -> Volume:
    """Whatever ITK reads; its world runs to the left and the back, NIfTI's to the right and the front."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image).T
    size = image.GetDimension()
    affine = np.eye(size + 1)
    direction = np.reshape(image.GetDirection(), (size, size))
    affine[:size, :size] = direction * image.GetSpacing()
    affine[:size, size] = image.GetOrigin()
    affine[:2] *= -1
    return Volume(voxels, affine)


def stack_affine(pixel_mm: tuple[float, float], slice_mm: float) -> npt.NDArray[np.float64]:
    """The affine of a stack whose columns run to the patient's left, rows to the back, slices to the feet."""
    return np.diag([-pixel_mm[0], -pixel_mm[1], -slice_mm, 1.0])
