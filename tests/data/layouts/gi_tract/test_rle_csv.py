"""Laws of the competition's rows."""

import csv
from pathlib import Path

import numpy as np
import pytest

from volseg.data.layouts.gi_tract.rle import decode
from volseg.data.layouts.gi_tract.rle_csv import RleRow, read, scan_rows, write
from volseg.errors import UserError

CLASSES = ("large_bowel", "small_bowel", "stomach")

REAL = (
    ("case139_day0", (234, 234), range(27, 135)),
    ("case47_day29", (360, 310), range(32, 110)),
    ("case119_day0", (360, 310), range(110, 136)),
)


def masks_of(shape=(5, 4, 3)):
    return np.random.default_rng(0).random((3, *shape)) > 0.7


def test_there_is_one_row_for_each_slice_and_class_slice_by_slice():
    found = scan_rows("case123_day0", (32, 33, 1034), classes=CLASSES, masks=masks_of())

    assert [(row.id, row.class_name) for row in found] == [
        (f"case123_day0_slice_{number}", organ) for number in ("0032", "0033", "1034") for organ in CLASSES
    ]


def test_rows_decode_to_the_masks_of_their_slice_and_class():
    masks = masks_of()
    found = scan_rows("a_day0", (7, 8, 9), classes=CLASSES, masks=masks)

    for row in found:
        z = int(row.id[-4:]) - 7
        assert np.array_equal(decode(row.predicted, (5, 4)), masks[CLASSES.index(row.class_name), :, :, z])


def test_a_slice_without_a_mask_has_an_empty_text():
    assert scan_rows("a", (1,), classes=("x",), masks=np.zeros((1, 2, 2, 1), bool)) == [
        RleRow("a_slice_0001", "x", "")
    ]


def test_masks_that_do_not_fit_the_slices_are_refused():
    with pytest.raises(ValueError, match="for 3 classes and 2 slices"):
        scan_rows("a", (1, 2), classes=CLASSES, masks=masks_of())


def test_a_file_is_read_back_as_it_was_written(tmp_path: Path):
    table = scan_rows("case1_day2", (1, 2, 3), classes=CLASSES, masks=masks_of())
    write(tmp_path / "rle.csv", table)

    assert read(tmp_path / "rle.csv") == table
    assert b"\r" not in (tmp_path / "rle.csv").read_bytes()
    assert (tmp_path / "rle.csv").read_text().startswith("id,class,predicted\ncase1_day2_slice_0001,")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its columns are nothing; expected id,class,predicted"),
        ("id,class,segmentation\n", "its columns are id,class,segmentation"),
        ("id,class,predicted\na,b\n", "line 2 has 2 fields"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text, message):
    (tmp_path / "rle.csv").write_text(text)

    with pytest.raises(UserError, match=message):
        read(tmp_path / "rle.csv")


def test_a_missing_file_is_a_users_mistake(tmp_path: Path):
    with pytest.raises(UserError, match=r"rle\.csv: not a readable csv"):
        read(tmp_path / "rle.csv")


def test_real_masks_come_back_as_the_rows_they_came_from(shared_data: Path):
    with (shared_data / "uwmgi_real/train.csv").open(newline="") as file:
        rows = [RleRow(*row) for row in list(csv.reader(file))[1:]]
    for scan, size, numbers in REAL:
        truth = [row for row in rows if row.id.startswith(scan)]
        masks = np.array([decode(row.predicted, size) for row in truth])
        masks = masks.reshape(-1, 3, *size).transpose(1, 2, 3, 0)

        assert scan_rows(scan, numbers, classes=CLASSES, masks=masks) == truth
