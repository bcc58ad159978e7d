import os
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.dicom_series import ORIENTATIONS, write_series
from volseg.data.layouts.dicom.find import find_series, open_series
from volseg.data.layouts.dicom.pixels import read_volume
from volseg.data.layouts.dicom.series import DicomSeries

SALT = b"salt of the tests"
READ = (
    "sts_013/image", "ct_j2k", "codecs/compressed", "codecs/compressed_j2k", "codecs/compressed_jpeg",
    "codecs/compressed_rle", "vendors/ge", "vendors/generic", "vendors/hitachi", "vendors/hyperfine",
    "vendors/philips", "vendors/philips_enhanced", "vendors/siemens", "vendors/siemens_multiframe",
)  # fmt: skip
REFUSED = {
    "gantrytilting/001": "gantry tilt",
    "notavolume/001": "one position",
    "rgb": "colour image",
    "slicecount/001": "too few slices",
    "sliceincrement/001": "missing slice",
    "sliceincrement/002": "missing slice",
    "sliceorientation/001": "mixed orientation",
}


@pytest.fixture
def dicom_data(shared_data: Path) -> Path:
    folder = shared_data / "dicom"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


def judged(folder: Path, out: Path) -> nibabel.Nifti1Image:
    """The volume as dcm2niix makes it, with values for display (no private scale of Philips)."""
    if shutil.which("dcm2niix") is None:
        pytest.skip("needs dcm2niix; install it by `apt-get install dcm2niix`")
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["dcm2niix", "-z", "y", "-p", "n", "-o", str(out), "-f", "judge", str(folder)],
        check=True,
        capture_output=True,
    )
    return nibabel.load(out / "judge.nii.gz")


def assert_equal_to_judge(series: DicomSeries, image: nibabel.Nifti1Image) -> None:
    volume = read_volume(series)
    assert np.abs(volume.affine - image.affine).max() <= 1e-3
    assert volume.voxels.shape == image.shape == series.shape
    assert np.allclose(volume.voxels, np.asarray(image.dataobj), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", READ)
def test_real_series_are_as_dcm2niix_makes_them(dicom_data: Path, tmp_path: Path, name: str) -> None:
    series = open_series(dicom_data / name, salt=SALT, allow_no_frame=True)

    assert_equal_to_judge(series, judged(dicom_data / name, tmp_path))


@pytest.mark.parametrize("acquired", ["2D", "3D"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_series_of_every_orientation_are_as_dcm2niix_makes_them(
    tmp_path: Path, orientation: str, acquired: str
) -> None:
    folder = tmp_path / "series"
    write_series(folder, orientation=orientation, shape=(6, 16, 12), MRAcquisitionType=acquired)

    assert_equal_to_judge(open_series(folder, salt=SALT), judged(folder, tmp_path / "out"))


@pytest.mark.parametrize("name", REFUSED)
def test_real_series_that_are_no_volume_are_refused_each_by_its_reason(dicom_data: Path, name: str) -> None:
    found = find_series([dicom_data / "refuse" / name], salt=SALT)

    assert not found.volumes
    assert [one.kind for one in found.refused] == [REFUSED[name]]


def test_every_real_folder_is_in_a_test(dicom_data: Path) -> None:
    folders = {
        os.path.relpath(path.parent, dicom_data)
        for path in dicom_data.rglob("*")
        if path.is_file() and path.parent != dicom_data
    }
    known = {*READ, "codecs/compressed_jpegls", *(f"refuse/{name}" for name in REFUSED)}

    assert folders - known == {"seg", "seg/ct-3slice", "sts_013", "sts_013/mask"}
