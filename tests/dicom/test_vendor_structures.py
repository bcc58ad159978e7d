"""A vendor's RTSTRUCT, a third party's mask of it, and ours of that mask."""

import pytest

from tests.dicom import judges
from tests.dicom.geometry_phantom import SALT, organ_masks
from volseg.data import volume_files
from volseg.data.layouts.dicom.find import open_series
from volseg.data.layouts.dicom.structures import structure_masks, structure_names
from volseg.dicom.rtstruct import write_rtstruct


@pytest.fixture(scope="module")
def vendor(shared_data):
    """The series, the path of the vendor's RTSTRUCT and the third party's mask (planes, rows, columns)."""
    folder = shared_data / "dicom/sts_013"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    series = open_series(folder / "image", salt=SALT)
    mask = series.planes_of_volume(volume_files.read(folder / "mask_of_another_tool.nii.gz"))
    return series, folder / "mask/RS.dcm", mask != 0


def test_the_vendors_contours_are_the_third_partys_mask(vendor):
    series, path, mask = vendor

    read = structure_masks(path, series)

    assert structure_names(path) == ("GTV_Mass_MR_T1",)
    assert read.notes == ()
    assert (series.planes_of_volume(read.masks["GTV_Mass_MR_T1"]) == mask).all()


@pytest.fixture(scope="module")
def ours(vendor, tmp_path_factory):
    """Our RTSTRUCT of the third party's mask."""
    path = tmp_path_factory.mktemp("ours") / "rt.dcm"
    write_rtstruct(path, vendor[0], organ_masks({"liver": vendor[2]}))
    return path


def test_our_contours_of_that_mask_are_it_again(vendor, ours):
    series, _, mask = vendor

    assert (series.planes_of_volume(structure_masks(ours, series).masks["Liver"]) == mask).all()


@pytest.mark.parametrize("judge", [judges.by_dcmrtstruct2nii, judges.by_plastimatch])
def test_both_judges_read_it_again(vendor, ours, judge, tmp_path):
    series, _, mask = vendor

    assert (judge(ours, series, tmp_path / "out")["Liver"] == mask).all()


def test_dciodvfy_finds_no_error_in_ours(ours):
    assert judges.errors_of_dciodvfy(ours) == []
