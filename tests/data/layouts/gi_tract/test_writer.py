import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raw import pixels
from volseg.data.layouts.gi_tract import png, slice_files, writer
from volseg.data.layouts.gi_tract.rle_csv import RleRow
from volseg.data.layouts.gi_tract.slice_scan import read_folder
from volseg.errors import UserError


@pytest.mark.parametrize(
    ("pixel_mm", "told"),
    [
        ((1.5, 1.63), "1.50_1.63"),
        ((float(np.float32(1.63)), 3), "1.63_3.00"),  # as a NIfTI header stores it
        ((0.78125, 0.7421875), "0.78125_0.742188"),
        ((1e-7, 1234567.125), "0.0000001_1234567.125"),
    ],
)
def test_a_name_has_two_decimals_and_more_only_where_they_count(pixel_mm, told):
    assert slice_files.file_name(7, (360, 310), pixel_mm) == f"slice_0007_360_310_{told}.png"


@given(st.integers(0, 20_000), st.tuples(*[st.integers(1, 2000)] * 2), st.tuples(*[st.floats(1e-3, 1e3)] * 2))
def test_a_name_is_read_as_what_it_was_made_of(tmp_path_factory, number, size, pixel_mm):
    folder = tmp_path_factory.mktemp("slices")
    path = folder / slice_files.file_name(number, size, pixel_mm)
    path.touch()

    (found,), problems = slice_files.find_slices(folder)

    assert not problems
    assert (found.number, found.size, found.path) == (number, size, path)
    np.testing.assert_allclose(found.pixel_mm, pixel_mm, atol=1e-6, rtol=0)


def test_slices_are_read_as_the_voxels_that_were_written(tmp_path):
    folder = writer.scan_folder(tmp_path, "train", "case1_day2")
    voxels = pixels(0, (9, 7, 5))

    writer.write_slices(folder, voxels, range(11, 16), pixel_mm=(1.5, 1.63))

    scan = read_folder(tmp_path / "train/case1/case1_day2")
    assert (scan.name, scan.numbers, scan.spacing_mm) == (
        "case1_day2",
        (11, 12, 13, 14, 15),
        (1.5, 1.63, 3.0),
    )
    np.testing.assert_array_equal(scan.image().voxels, voxels)


@pytest.mark.parametrize("value", [0, 255, 256, 65535])
def test_a_png_keeps_every_bit(tmp_path, value):
    sixteen = np.full((2, 3), value, dtype=np.uint16)

    png.write(tmp_path / "one.png", sixteen)

    np.testing.assert_array_equal(png.read(tmp_path / "one.png"), sixteen)


def test_the_tables_have_the_columns_of_the_competition(tmp_path):
    writer.write_tables(tmp_path, [RleRow("case1_day0_slice_0001", "stomach", "1 2")])

    assert (tmp_path / "train.csv").read_text() == (
        "id,class,segmentation\ncase1_day0_slice_0001,stomach,1 2\n"
    )
    assert (tmp_path / "sample_submission.csv").read_text() == "id,class,predicted\n"


def test_a_folder_in_use_is_refused_and_one_that_was_cut_off_is_told_apart(tmp_path):
    writer.check_new(tmp_path / "none")
    writer.check_new(tmp_path)
    (tmp_path / "train").mkdir()
    cut_off = "holds slices but no train.csv: it was cut off as it was written; remove it or name"
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}: {cut_off}")):
        writer.check_new(tmp_path)
    (tmp_path / "train.csv").touch()
    with pytest.raises(UserError, match="exists and isn't an empty folder; name a new one"):
        writer.check_new(tmp_path)
