"""Files that are not what their name says, and endings as people write them."""

import gzip
import io
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from volseg.data import volume_files
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError

VOXELS = np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(np.int16)


def by_itk(ending: str) -> bytes:
    """What ITK writes in a format."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"v{ending}"
        flat = ending in (".png", ".jpg")
        pixels = VOXELS[..., 0].astype(np.uint8) if flat else VOXELS.astype(np.uint16)
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(pixels.T)), str(path))
        return path.read_bytes()


def by_nibabel(kind: type, *extra: np.ndarray) -> bytes:
    return bytes(kind(VOXELS, np.eye(4), *extra).to_bytes())


def numpy_file() -> bytes:
    file = io.BytesIO()
    np.save(file, VOXELS)
    return file.getvalue()


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "a")
    return file.getvalue()


def analyze() -> bytes:
    header = nibabel.AnalyzeHeader()
    header.set_data_shape(VOXELS.shape)
    return bytes(header.binaryblock)


def cut_off(length: int) -> bytes:
    """The first bytes of a mask that is empty, and so is short."""
    empty = nibabel.Nifti1Image(np.zeros(VOXELS.shape, np.uint8), np.eye(4))
    return gzip.compress(bytes(empty.to_bytes()))[:length]


def dicom(preamble: bool) -> bytes:
    data = by_itk(".dcm")
    return data if preamble else data[132:]


KINDS = {
    "tiff": (lambda: by_itk(".tif"), "TIFF picture"),
    "png": (lambda: by_itk(".png"), "PNG picture"),
    "jpeg": (lambda: by_itk(".jpg"), "JPEG picture"),
    "dicom": (lambda: dicom(preamble=True), "dcm2niix"),
    "dicom without its preamble": (lambda: dicom(preamble=False), "dcm2niix"),
    "lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1\n", "git lfs pull"),
    "annex": (lambda: b"/annex/objects/SHA256E-s10--aa.nii.gz\n", "git-annex pointer"),
    "web page": (lambda: b"\n<!DOCTYPE html><html>Sign in</html>", "web page"),
    "text": (lambda: b"Access denied\n", "a text that begins with 'Access denied'"),
    "mgz": (lambda: gzip.compress(by_nibabel(nibabel.MGHImage)), "mri_convert"),
    "gzip in gzip": (lambda: gzip.compress(gzip.compress(bytes(999))), "compressed by gzip twice"),
    "zip": (zip_file, "zip archive"),
    "numpy": (numpy_file, "NumPy array"),
    "hdf5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
    "minc": (lambda: b"CDF\1" + bytes(99), "MINC"),
    "matlab": (lambda: b"MATLAB 5.0 MAT-file" + bytes(99), "MATLAB"),
    "analyze": (analyze, "Analyze"),
    "cut off": (lambda: cut_off(60), "damaged or cut off; copy or download it again"),
    "cut off in its header": (lambda: cut_off(30), "damaged or cut off; copy or download it again"),
    "cut off at its beginning": (lambda: cut_off(12), "damaged or cut off; copy or download it again"),
    "nothing": (lambda: b"", "copy or download it again"),
    "noise": (lambda: bytes(range(200, 256)) * 9, "no known format"),
}


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nii", "v.mha", "v.nrrd", "v.tif", "v.dcm", "v"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_file_really_is_is_told(tmp_path, kind, name) -> None:
    make, expected = KINDS[kind]
    path = tmp_path / name
    path.write_bytes(make())

    with pytest.raises(UserError) as error:
        volume_files.read(path)

    assert str(error.value).startswith(f"{path}: ")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "written"),
    [("v.NII.GZ", ".nii.gz"), ("v.Nii", ".nii"), ("v.nii.gz", ".nii"), ("v.nii", ".nii.gz"),
     ("v.MHA", ".mha"),
     ("v.Nrrd", ".nrrd"), ("v.SEG.nrrd", ".nrrd")],
)  # fmt: skip
def test_endings_are_known_in_capitals_and_gzip_by_its_content(tmp_path, name, written) -> None:
    written_path = tmp_path / f"w{written}"
    if written.startswith(".nii"):
        write_volume(Volume(VOXELS, np.eye(4)), written_path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(VOXELS.T)), str(written_path))
    path = written_path.rename(tmp_path / name)

    assert np.array_equal(volume_files.read(path).voxels, VOXELS)
    assert volume_files.split_ending(name)[0] == "v"


def test_a_volume_of_another_format_than_its_ending_is_told_how_to_end(tmp_path) -> None:
    write_volume(Volume(VOXELS, np.eye(4)), tmp_path / "v.nii")
    path = (tmp_path / "v.nii").rename(tmp_path / "v.nrrd")

    with pytest.raises(UserError, match=r"it is NIfTI; rename it to end in \.nii\.gz or \.nii"):
        volume_files.read(path)


def test_a_pair_of_header_and_voxels_is_refused_by_name(tmp_path) -> None:
    nibabel.save(nibabel.Nifti1Pair(VOXELS, np.eye(4)), tmp_path / "v.hdr")

    for path in (tmp_path / "v.hdr", (tmp_path / "v.hdr").rename(tmp_path / "v.nii")):
        if path.exists():
            with pytest.raises(UserError, match=r"pair of NIfTI files \(\.hdr and \.img\)"):
                volume_files.read(path)


def test_a_broken_link_and_folders_are_told(tmp_path) -> None:
    link = tmp_path / "v.nii.gz"
    link.symlink_to("/nowhere/annex/objects/x")
    series = tmp_path / "series"
    (series / "one/two").mkdir(parents=True)
    (series / "one/two/IM0001").write_bytes(dicom(preamble=True))
    (tmp_path / "many").mkdir()
    write_volume(Volume(VOXELS, np.eye(4)), tmp_path / "many/a.nii.gz")

    assert "broken link to /nowhere/annex/objects/x; fetch it by `datalad get`" in reason(link)
    assert "dcm2niix" in reason(series)
    assert "a.nii.gz" in reason(tmp_path / "many")
    assert "no such file" in reason(tmp_path / "absent.nii.gz")


def reason(path: Path) -> str:
    with pytest.raises(UserError) as error:
        volume_files.read(path)
    return str(error.value)


@pytest.mark.parametrize("name", ["v", "v.gz", "v.img"])
def test_a_volume_without_an_ending_of_its_own_is_told_how_to_end(tmp_path, name) -> None:
    write_volume(Volume(VOXELS, np.eye(4)), tmp_path / "v.nii.gz")
    path = (tmp_path / "v.nii.gz").rename(tmp_path / name)

    with pytest.raises(UserError, match=r"it is NIfTI; rename it to end in \.nii\.gz or \.nii"):
        volume_files.read(path)


def test_volumes_in_the_folders_of_a_folder_are_told(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_volume(Volume(VOXELS, np.eye(4)), tmp_path / name / "v.nii.gz")

    assert volume_files.folder_content(tmp_path) == " with volumes (a/v.nii.gz, b/v.nii.gz)"
