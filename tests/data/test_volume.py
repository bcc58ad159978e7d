import errno
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import affines, shapes
from volseg.data import volume_files
from volseg.data.volume import Volume, stack_affine, turned_like
from volseg.data.volume_files import write_volume
from volseg.errors import OutputError, UserError
from volseg.system.files import PREFIX


@given(shapes, affines())
def test_the_voxel_size_is_the_way_to_the_next_voxel_along_each_axis(shape, affine) -> None:
    steps = [affine @ (*row, 0) for row in np.eye(3)]

    found = Volume(np.zeros(shape), affine).spacing_mm

    assert np.allclose(found, np.linalg.norm(steps, axis=1))


@given(shapes, affines(), st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]))
def test_writing_and_reading_is_the_identity(tmp_path_factory, shape, affine, dtype) -> None:
    path = tmp_path_factory.mktemp("volume") / "v.nii.gz"
    voxels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)

    write_volume(Volume(voxels, affine), path)
    back = volume_files.read(path)

    assert back.voxels.dtype == dtype
    assert np.array_equal(back.voxels, voxels)
    assert np.allclose(back.affine, affine, atol=1e-4)


def test_the_stack_affine_is_the_documented_one() -> None:
    expected = np.diag([-1.5, -1.63, -3.0, 1.0])

    affine = stack_affine((1.5, 1.63), 3.0)

    assert np.array_equal(affine, expected)
    assert Volume(np.zeros((2, 2, 2)), affine).spacing_mm == (1.5, 1.63, 3.0)


def test_same_grid_sees_shape_and_place() -> None:
    here = Volume(np.zeros((2, 3, 4)), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 0.5

    assert here.same_grid(Volume(np.ones((2, 3, 4)), np.eye(4)))
    assert not here.same_grid(Volume(np.zeros((3, 2, 4)), np.eye(4)))
    assert not here.same_grid(Volume(np.zeros((2, 3, 4)), moved))


@pytest.mark.parametrize("of_a_voxel", [0, 2e-4, 1e-2, 4.9e-2, 5.1e-2, 0.5])
@pytest.mark.parametrize("part", ["origin", "voxel size"])
def test_one_grid_is_one_to_a_twentieth_of_a_voxel_at_the_farthest_corner(of_a_voxel, part) -> None:
    affine = np.diag([-0.7, 1.5, 3, 1])
    other = affine.copy()
    if part == "origin":
        other[0, 3] += of_a_voxel * 0.7
    else:
        other[2, 2] += of_a_voxel * 3 / 19
    here, there = (Volume(np.zeros((4, 6, 20)), one) for one in (affine, other))

    assert here.same_grid(there) == (of_a_voxel < 0.05)
    assert here.grid_distance(there) == pytest.approx(of_a_voxel, abs=1e-9)


@given(shapes, affines(), st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_axes_that_were_only_turned_are_turned_back_without_loss(shape, affine, order, flips) -> None:
    reference = Volume(np.random.default_rng(0).random(shape), affine)
    turned = nibabel.Nifti1Image(reference.voxels, affine).as_reoriented(
        np.stack([np.argsort(order), np.where(flips, -1, 1)], axis=1)
    )

    back = turned_like(Volume(np.asarray(turned.dataobj), turned.affine), reference)

    assert back is not None
    assert np.array_equal(back.voxels, reference.voxels)
    assert back.same_grid(reference)


@pytest.mark.parametrize("change", ["moved", "larger", "rotated"])
def test_what_lies_elsewhere_is_not_turned(change: str) -> None:
    reference = Volume(np.zeros((4, 4, 4)), np.diag([1.5, 1.5, 1.5, 1]))
    affine = reference.affine.copy()
    if change == "moved":
        affine[:3, 3] += (0, 0.75, 0)
    elif change == "larger":
        affine[:3, :3] *= 2
    else:
        affine[:2, :2] = [[1.2, -0.9], [0.9, 1.2]]

    assert turned_like(Volume(np.zeros((4, 4, 4)), affine), reference) is None


@pytest.mark.parametrize("content", [b"", b"no volume", None])
def test_what_is_no_volume_is_named(tmp_path: Path, content) -> None:
    path = tmp_path / "v.nii.gz"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UserError, match=r"v\.nii\.gz"):
        volume_files.read(path)


def test_a_truncated_volume_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.nii.gz"
    voxels = np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.uint16)
    write_volume(Volume(voxels, np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(UserError, match=r"v\.nii\.gz: not a readable volume"):
        volume_files.read(path)


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "v.nii.gz"
    write_volume(Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4)), path)
    before = path.read_bytes()

    def full(*_args: object) -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("volseg.data.volume_files.writing._compress_gzip", full)
    with pytest.raises(OutputError, match="the disk is full"):
        write_volume(Volume(np.ones((2, 2, 2), np.uint8), np.eye(4)), path)

    assert path.read_bytes() == before
    assert not list(tmp_path.glob(f"{PREFIX}*"))


@given(shapes, affines(), st.sampled_from([".mha", ".nrrd"]))
def test_other_formats_lie_where_nifti_puts_them(tmp_path_factory, shape, affine, suffix) -> None:
    """ITK itself converts the file, so this checks our reading of its geometry against ITK's own."""
    folder = tmp_path_factory.mktemp("volume")
    voxels = np.random.default_rng(0).integers(0, 900, shape).astype(np.uint16)
    write_volume(Volume(voxels, affine), folder / "v.nii.gz")
    sitk.WriteImage(sitk.ReadImage(str(folder / "v.nii.gz")), str(folder / f"v{suffix}"))

    back = volume_files.read(folder / f"v{suffix}")

    assert np.array_equal(back.voxels, voxels)
    assert np.allclose(back.affine, affine, atol=1e-3)


def test_a_flat_picture_is_no_volume(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.uint16)), str(tmp_path / "v.mha"))

    with pytest.raises(UserError, match=r"not a readable volume \(it has 2 dimensions\)"):
        volume_files.read(tmp_path / "v.mha")
