"""Voxels as they are read: their type, their axes, and the grids of a scan's files beside each other."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from volseg.data import volume_files
from volseg.errors import UserError

VOXELS = np.random.default_rng(0).integers(-99, 99, (5, 6, 7)).astype(np.int16)
AFFINE = np.diag([-1.5, -1.5, 3.0, 1.0])


def save(path, voxels=VOXELS, affine=AFFINE):
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def told(*paths):
    return [(odd.kind, odd.message) for odd in volume_files.scan_oddities(paths)]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_what_other_programs_add_to_a_header_is_passed_over(tmp_path, kind, ending) -> None:
    """AFNI's attributes, DICOM's fields and TotalSegmentator's names take thousands of bytes."""
    path, voxels = tmp_path / f"v{ending}", np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = kind(voxels, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(4, b"<AFNI_attributes/>" * 1000))
    nibabel.save(image, path)

    np.testing.assert_array_equal(volume_files.read(path).voxels, voxels)
    assert volume_files.read_header(path).shape == voxels.shape
    assert not volume_files.read_header(path).oddities


@pytest.mark.parametrize("scaling", [(1, -1024), (0.5, 0), (2, 10)])
def test_scaled_integers_become_float32(tmp_path, scaling) -> None:
    image = nibabel.Nifti1Image(VOXELS, AFFINE)
    image.header.set_slope_inter(*scaling)
    nibabel.save(image, tmp_path / "v.nii.gz")

    read = volume_files.read(tmp_path / "v.nii.gz").voxels

    assert read.dtype == np.float32
    assert np.allclose(read, nibabel.load(tmp_path / "v.nii.gz").get_fdata())


def test_plain_integers_keep_their_type(tmp_path) -> None:
    assert volume_files.read(save(tmp_path / "v.nii.gz")).voxels.dtype == np.int16


@pytest.mark.parametrize(
    ("more", "channels"), [((1,), 1), ((1, 1), 1), ((2,), 2), ((1, 3), 3), ((3, 1), 3), ((2, 3), 0)]
)
def test_axes_of_one_voxel_behind_the_third_are_none(tmp_path, more, channels) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, (5, 6, 7, *more)).astype(np.int16)
    path = save(tmp_path / "v.nii.gz", voxels)

    if not channels:
        with pytest.raises(UserError, match="expected a 3D volume"):
            volume_files.read_channels(path)
        return
    read = volume_files.read_channels(path)
    assert np.array_equal(np.stack([one.voxels for one in read], axis=-1), voxels.reshape(5, 6, 7, -1))


@pytest.mark.parametrize(
    ("off_mm", "expected"), [(0, ""), (5e-5, ""), (3e-3, "0.002 of a voxel"), (0.75, "")]
)
def test_a_grid_that_is_almost_the_first_ones_is_told(tmp_path, off_mm, expected) -> None:
    affine = AFFINE.copy()
    affine[0, 3] += off_mm
    found = told(save(tmp_path / "a.nii.gz"), save(tmp_path / "b.nii.gz", affine=affine))

    assert bool(found) == bool(expected)
    assert all(kind == "grid" and expected in message for kind, message in found)


def test_axes_that_are_turned_against_the_first_files_are_told(tmp_path) -> None:
    image = nibabel.Nifti1Image(VOXELS, AFFINE).as_reoriented(np.array([[1, 1], [0, -1], [2, 1]]))
    nibabel.save(image, tmp_path / "b.nii.gz")

    ((kind, message),) = told(save(tmp_path / "a.nii.gz"), tmp_path / "b.nii.gz")

    assert kind == "grid"
    assert "its axes are turned against those of" in message


@pytest.mark.parametrize(("size", "odd"), [(35, True), (0.002, True), (0.05, False), (10, False)])
@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_voxel_sizes_that_no_scanner_makes_are_told(tmp_path, size, odd, ending) -> None:
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    image.SetSpacing((1, 1, size))
    sitk.WriteImage(image, str(tmp_path / f"v{ending}"))

    told = volume_files.read_header(tmp_path / f"v{ending}").oddities

    assert any(f"voxels are 1 x 1 x {size} mm" in line for line in told) == odd
