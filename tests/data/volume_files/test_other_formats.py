"""Units and orientation of MetaImage and NRRD, which ITK does not tell."""

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from volseg.data import volume_files
from volseg.errors import UserError

VOXELS = np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(np.int16)
AFFINE = np.diag([-1.5, -1.5, 3.0, 1.0])


def save(path: Path, factor: float = 1.0) -> Path:
    image = sitk.GetImageFromArray(np.ascontiguousarray(VOXELS.T))
    image.SetSpacing((1.5 * factor, 1.5 * factor, 3 * factor))
    sitk.WriteImage(image, str(path))
    return path


def change(path: Path, old: bytes, new: bytes) -> Path:
    path.write_bytes(re.sub(old, new, path.read_bytes(), count=1))
    return path


def told(path: Path) -> str:
    return "\n".join(odd.message for odd in volume_files.scan_oddities([path]))


@pytest.mark.parametrize(
    ("unit", "per_mm"), [("um", 1000), ("micron", 1000), ("cm", 0.1), ("m", 1e-3), ("mm", 1)]
)
def test_units_of_nrrd_become_mm(tmp_path, unit, per_mm) -> None:
    path = save(tmp_path / "v.nrrd", per_mm)
    units = f'space units: "{unit}" "{unit}" "{unit}"\nkinds'.encode()
    change(path, b"kinds", units)

    assert np.allclose(volume_files.read(path).affine, AFFINE)
    assert np.allclose(volume_files.read_header(path).affine, AFFINE)
    assert ("converted to mm" in told(path)) == (unit != "mm")


@pytest.mark.parametrize("units", ['"mm" "mm" "s"', '"um" "um" "mm"', '"furlong" "furlong" "furlong"'])
def test_units_that_are_no_lengths_or_several_are_refused(tmp_path, units) -> None:
    path = change(save(tmp_path / "v.nrrd"), b"kinds", f"space units: {units}\nkinds".encode())

    with pytest.raises(UserError, match=r"its lengths are in .*; expected one unit, such as mm"):
        volume_files.read(path)


@pytest.mark.parametrize(("unit", "per_mm"), [("um", 1000), ("cm", 0.1), ("mm", 1)])
def test_units_of_metaimage_become_mm(tmp_path, unit, per_mm) -> None:
    path = save(tmp_path / "v.mha", per_mm)
    change(path, b"ElementSpacing", f"DistanceUnits = {unit}\nElementSpacing".encode())

    assert np.allclose(volume_files.read(path).affine, AFFINE)


@pytest.mark.parametrize(
    ("name", "old", "new", "odd"),
    [("v.nrrd", b"space: .*", b"space: scanner-xyz", "space is scanner-xyz"),
     ("v.nrrd", b"space: .*", b"space dimension: 3", "it has no space"),
     ("v.nrrd", b"space: .*", b"space: RAS", ""),
     ("v.nrrd", b"kinds", b"kinds", ""),
     ("v.mha", b"TransformMatrix.*\n", b"", "it has no TransformMatrix"),
     ("v.mha", b"Offset", b"Offset", "")],
)  # fmt: skip
def test_a_header_without_orientation_is_told(tmp_path, name, old, new, odd) -> None:
    path = change(save(tmp_path / name), old, new)

    assert volume_files.read(path).voxels.shape == VOXELS.shape
    assert ("no orientation" in told(path)) == bool(odd)
    assert odd in told(path)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [("v.mha", b"ElementSpacing = .*", b"ElementSpacing = 1.5 1.5 0", "a voxel size of 0; expected"),
     ("v.mhd", b"ElementDataFile = .*", b"ElementDataFile = gone.raw", "gone.raw, which is not there; copy"),
     ("v.mha", b"TransformMatrix = .*", b"TransformMatrix = 0 0 0 0 0 0 0 0 0", "Matrix has no volume")],
)  # fmt: skip
def test_what_itk_refuses_is_told_in_plain_words(tmp_path, name, old, new, words, capfd) -> None:
    path = change(save(tmp_path / name), old, new)

    for read in (volume_files.read, volume_files.read_header):
        with pytest.raises(UserError, match=words):
            read(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "old", "new", "odd"),
    [("v.nrrd", b"space directions: .*", b"space directions: (1.5,0,0) (0.3,1.5,0) (0,0,3)", "degrees off"),
     ("v.mha", b"ElementSpacing = .*", b"ElementSpacing = 1.5 1.5 -3", "a voxel size below 0"),
     ("v.nrrd", b"space directions: .*", b"spacings: 1.5 1.5 nan", "no voxel size of an axis")],
)  # fmt: skip
def test_axes_that_itk_takes_without_a_word_are_told(tmp_path, name, old, new, odd) -> None:
    path = change(save(tmp_path / name), old, new)
    if b"nan" in new:
        change(change(path, b"space: .*\n", b""), b"space origin: .*\n", b"")

    assert volume_files.read(path).voxels.shape == VOXELS.shape
    assert odd in told(path)


@pytest.mark.parametrize(
    ("name", "line"),
    [("v.mha", b"ElementSpacing.*\n"), ("v.nrrd", b"(?s)space: .*?\n|space directions: .*?\n")],
)
def test_a_header_without_voxel_sizes_is_told(tmp_path, name, line) -> None:
    path = save(tmp_path / name)
    path.write_bytes(re.sub(line, b"", path.read_bytes()).replace(b"space origin: (0,0,0)\n", b""))

    assert volume_files.read(path).spacing_mm == (1, 1, 1)
    assert "states no voxel size" in told(path)
