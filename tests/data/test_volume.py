import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import affines, shapes
from volseg.data import volume_files
from volseg.data.volume import Volume, stack_affine
from volseg.data.volume_files import write_volume
from volseg.errors import OutputError, UserError
from volseg.system.files import PREFIX


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

    monkeypatch.setattr("volseg.data.volume_files._compress_gzip", full)
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
