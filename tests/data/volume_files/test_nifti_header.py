"""What a NIfTI header says of place and unit, how it is told, and that masks keep it."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import affines, shapes
from volseg.data import volume_files
from volseg.data.volume import Volume, turned_like
from volseg.data.volume_files import write_volume
from volseg.errors import UserError

SHAPE = (5, 6, 7)
AFFINE = np.diag([-1.5, -1.5, 3.0, 1.0])
AFFINE[:3, 3] = (18, 18, -20)


def moved(*by: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3, 3] += by
    return affine


def sheared(by: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 1] = by
    return affine


def save(path: Path, sform=AFFINE, *, qform=None, codes=(1, 1), unit="mm", change=None) -> Path:
    voxels = np.random.default_rng(0).integers(0, 99, SHAPE).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, sform)
    image.set_sform(sform, code=codes[0])
    image.set_qform(sform if qform is None else qform, code=codes[1])
    image.header.set_xyzt_units(unit)
    if change:
        change(image.header)
    nibabel.save(image, path)
    return path


def save_with_sform(path: Path, sform: np.ndarray, qform: np.ndarray) -> Path:
    """Write a file whose sform nibabel would not write."""
    content = bytearray(save(path, qform=qform).read_bytes())
    content[280:328] = sform[:3].astype("<f4").tobytes()
    path.write_bytes(content)
    return path


def told(path: Path) -> str:
    return "\n".join(odd.message for odd in volume_files.scan_oddities([path]))


@pytest.mark.parametrize(("unit", "per_mm"), [("micron", 1000), ("meter", 0.001), ("unknown", 1), ("mm", 1)])
def test_lengths_are_in_mm_whatever_the_headers_unit(tmp_path, unit, per_mm) -> None:
    stated = AFFINE.copy()
    stated[:3] *= per_mm
    path = save(tmp_path / "v.nii.gz", stated, unit=unit)

    assert np.allclose(volume_files.read(path).affine, AFFINE, atol=1e-4)
    assert np.allclose(volume_files.read_header(path).affine, AFFINE, atol=1e-4)
    assert ("converted to mm" in told(path)) == (unit in ("micron", "meter"))


def test_voxels_of_no_scanners_size_are_refused(tmp_path) -> None:
    path = save(tmp_path / "v.nii.gz", unit="meter")

    with pytest.raises(UserError, match=r"voxels of 1500 x 1500 x 3000 mm \(stated in metres\)"):
        volume_files.read(path)


FORMS = {
    "apart": ({"qform": moved(12, -7, 9)}, "disagree by 16.6 mm"),
    "sheared": ({"sform": sheared(0.01), "qform": AFFINE}, "0.38 degrees off a right angle"),
    "sheared, one form": ({"sform": sheared(0.01), "codes": (1, 0)}, "0.38 degrees off a right angle"),
    "no orientation": ({"codes": (0, 0)}, "states no orientation"),
    "no size": ({"change": lambda header: header["pixdim"].__setitem__(3, 0)}, "pixdim"),
    "unknown unit": ({"change": lambda header: header.__setitem__("xyzt_units", 5)}, "unknown unit"),
}


@pytest.mark.parametrize("fault", FORMS)
def test_an_odd_header_is_read_and_told(tmp_path, fault) -> None:
    settings, expected = FORMS[fault]
    path = save(tmp_path / "v.nii.gz", **settings)

    assert expected in told(path)
    assert np.isfinite(volume_files.read(path).affine).all()


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 0), (0, 1), (4, 2)])
def test_a_sound_header_is_not_told(tmp_path, codes) -> None:
    assert told(save(tmp_path / "v.nii.gz", codes=codes)) == ""


@pytest.mark.parametrize(
    ("sform", "followed"),
    [(AFFINE, "sform"), (sheared(0.01), "sform"), (sheared(0.1), "qform"), (np.zeros((4, 4)), "qform"),
     (np.diag([1.5, 0, 3, 1]), "qform"), (np.diag([1.5, np.nan, 3, 1]), "qform")],
)  # fmt: skip
def test_the_sform_counts_unless_it_is_unusable_or_sheared_beyond_a_degree(tmp_path, sform, followed) -> None:
    other = moved(5, 0, 0)
    path = save_with_sform(tmp_path / "v.nii", sform, other)

    assert np.allclose(volume_files.read(path).affine, sform if followed == "sform" else other, atol=1e-4)
    assert f"volseg goes by the {followed}" in told(path)


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (4, 1), (1, 2), (0, 1), (1, 0), (0, 0)])
@pytest.mark.parametrize("unit", ["mm", "micron", "unknown"])
@pytest.mark.parametrize("forms", ["alike", "apart", "sheared"])
def test_a_mask_lies_on_its_image_in_nibabel_and_itk(tmp_path, codes, unit, forms) -> None:
    factor = 1000 if unit == "micron" else 1
    forms_mm = {
        "alike": (AFFINE, AFFINE),
        "apart": (AFFINE, moved(12, -7, 9)),
        "sheared": (sheared(0.01), AFFINE),
    }
    sform, qform = (np.diag([factor, factor, factor, 1]) @ form for form in forms_mm[forms])
    path, mask = (
        save(tmp_path / "v.nii.gz", sform, qform=qform, codes=codes, unit=unit),
        tmp_path / "m.nii.gz",
    )

    image = volume_files.read(path)
    write_volume(image.with_voxels(image.voxels > 50), mask)

    one, other = nibabel.load(path), nibabel.load(mask)
    assert np.array_equal(one.affine, other.affine)
    for name in ("qform_code", "sform_code"):
        assert int(one.header[name]) == int(other.header[name])
    assert one.header.get_xyzt_units()[0] == other.header.get_xyzt_units()[0]
    try:
        seen = sitk.ReadImage(str(path))
    except RuntimeError:  # ITK opens no sheared image: nor need it open the mask
        assert forms == "sheared"
        return
    mine = sitk.ReadImage(str(mask))
    assert seen.GetOrigin() == mine.GetOrigin()
    assert seen.GetDirection() == mine.GetDirection()
    assert seen.GetSpacing() == mine.GetSpacing()


@given(
    shapes,
    affines(),
    st.sampled_from(["<", ">"]),
    st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]),
)
def test_the_affine_is_nibabels(tmp_path_factory, shape, affine, order, kind) -> None:
    path = tmp_path_factory.mktemp("header") / "v.nii"
    image = kind(np.zeros(shape, np.int16), affine, header=kind.header_class(endianness=order))
    image.set_data_dtype(np.int16)
    image.set_qform(affine, code=2, strip_shears=True)
    nibabel.save(image, path)

    read = volume_files.read(path)

    assert np.array_equal(read.affine, nibabel.load(path).affine)
    assert read.voxels.dtype == np.dtype(np.int16)


@pytest.mark.parametrize("packed", [True, False])
def test_bytes_behind_the_end_are_told_and_left_out(tmp_path, packed) -> None:
    good = save(tmp_path / "good.nii")
    content = good.read_bytes()
    path = tmp_path / ("v.nii.gz" if packed else "v.nii")
    path.write_bytes((gzip.compress(content) if packed else content) + b"garbage" * 20)

    assert "140 bytes behind" in told(path)
    assert np.array_equal(volume_files.read(path).voxels, volume_files.read(good).voxels)


def test_several_members_of_gzip_are_one_file_without_a_word(tmp_path) -> None:
    content = save(tmp_path / "good.nii").read_bytes()
    path = tmp_path / "v.nii.gz"
    path.write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]) + gzip.compress(b""))

    assert told(path) == ""
    assert np.array_equal(volume_files.read(path).voxels, volume_files.read(tmp_path / "good.nii").voxels)


@pytest.mark.parametrize("unit", ["mm", "micron"])
@pytest.mark.parametrize("followed", ["sform", "qform"])
def test_a_label_drawn_by_either_form_of_its_image_fits(tmp_path, followed, unit) -> None:
    factor = np.diag([1000, 1000, 1000, 1]) if unit == "micron" else np.eye(4)
    forms = {"sform": AFFINE, "qform": moved(12, -7, 9) @ np.diag([-1, 1, -1, 1])}
    path = save(tmp_path / "v.nii.gz", factor @ forms["sform"], qform=factor @ forms["qform"], unit=unit)
    image = volume_files.read(path)
    label = Volume(image.voxels > 50, forms[followed])

    fitting = turned_like(label, image)

    assert fitting is not None
    assert np.array_equal(fitting.voxels, label.voxels)
    assert fitting.same_grid(image)
    assert turned_like(Volume(label.voxels, moved(3, 0, 0)), image) is None


def test_a_place_is_of_the_grid_and_not_of_turned_axes() -> None:
    volume = Volume(np.zeros(SHAPE), AFFINE)

    assert volume.with_voxels(np.ones(SHAPE)).place is None


@pytest.mark.parametrize("codes", [(0, 0), (0, 1)])
def test_a_voxel_size_of_0_without_a_sform_is_told_with_what_is_taken(tmp_path, codes) -> None:
    path = save(tmp_path / "v.nii", codes=codes)
    content = bytearray(path.read_bytes())
    content[88:92] = bytes(4)  # pixdim[3], which nibabel would write as it should be
    path.write_bytes(content)

    assert volume_files.read(path).spacing_mm[2] == 1
    assert "a voxel size of 0; taken for 1 mm" in told(path)
