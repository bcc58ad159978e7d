"""Laws of run-length text."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from volseg.data.layouts.gi_tract.rle import decode, encode, slice_planes
from volseg.errors import UserError

masks = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=8))
volumes = arrays.arrays(bool, arrays.array_shapes(min_dims=3, max_dims=3, max_side=8))


def reference(mask):
    text, pixels = (
        [],
        [False, *(mask[x, y] for y in range(mask.shape[1]) for x in range(mask.shape[0])), False],
    )
    starts = [i for i in range(1, len(pixels)) if pixels[i] and not pixels[i - 1]]
    ends = [i for i in range(1, len(pixels)) if not pixels[i] and pixels[i - 1]]
    for start, end in zip(starts, ends, strict=True):
        text += [str(start), str(end - start)]
    return " ".join(text)


@given(masks)
def test_decoding_undoes_encoding(mask):
    again = decode(encode(mask), mask.shape)

    assert again.dtype == bool
    assert np.array_equal(again, mask)


@given(masks)
def test_encoding_agrees_with_a_naive_reference(mask):
    assert encode(mask) == reference(mask)
    assert encode(np.asfortranarray(mask)) == reference(mask)
    assert encode(mask.astype(np.uint8) * 255) == reference(mask)


@given(volumes)
def test_planes_are_the_slices_of_a_volume_each_in_one_piece(volume):
    stack = slice_planes(volume)

    assert np.array_equal(stack, np.moveaxis(volume, 2, 0))
    assert all(plane.flags.f_contiguous for plane in stack)
    assert np.array_equal(slice_planes(np.asfortranarray(volume)), stack)


@given(masks)
def test_runs_are_sorted_apart_and_not_empty(mask):
    numbers = np.array(encode(mask).split(), dtype=int)
    starts, lengths = numbers[::2], numbers[1::2]

    assert (lengths >= 1).all()
    assert (starts[1:] > starts[:-1] + lengths[:-1]).all()


def test_runs_are_1_based_and_go_row_by_row():
    # an image 4 wide and 3 tall, numbered 1 2 3 4 / 5 6 7 8 / 9 10 11 12; set: 6, 7 and 10
    mask = np.zeros((4, 3), dtype=bool)
    mask[1, 1] = mask[2, 1] = mask[1, 2] = True

    assert encode(mask) == "6 2 10 1"
    assert np.array_equal(decode("6 2 10 1", (4, 3)), mask)


def test_a_run_goes_on_over_the_end_of_a_row():
    mask = np.zeros((4, 3), dtype=bool)
    mask[3, 0] = mask[0, 1] = True

    assert encode(mask) == "4 2"


def test_an_empty_mask_is_an_empty_text_and_back():
    assert encode(np.zeros((3, 2), dtype=bool)) == ""
    assert decode("", (3, 2)).shape == (3, 2)
    assert not decode("", (3, 2)).any()


def test_touching_runs_are_one_run():
    assert encode(decode("1 2 3 4", (4, 3))) == "1 6"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 5", "run 2 ('5'): has no length"),
        ("1 2 x 1", "run 2 ('x 1'): is not two whole numbers"),
        ("1 2.5", "run 1 ('1 2.5'): is not two whole numbers"),
        ("1 1_0", "run 1 ('1 1_0'): is not two whole numbers"),
        ("1 ²", "run 1 ('1 ²'): is not two whole numbers"),
        ("0 3", "run 1 ('0 3'): starts below 1"),
        ("-1 3", "run 1 ('-1 3'): starts below 1"),
        ("1 0", "run 1 ('1 0'): has a length below 1"),
        ("1 2 5 -1", "run 2 ('5 -1'): has a length below 1"),
        ("10 4", "run 1 ('10 4'): ends past the last of 12 pixels (4 columns x 3 rows)"),
        ("1 3 3 1", "run 2 ('3 1'): starts before or within an earlier run, which ends at 3"),
        ("5 2 1 2", "run 2 ('1 2'): starts before or within an earlier run"),
        ("9223372036854775807 5", "ends past the last"),
        ("9223372036854775807 9223372036854775807", "ends past the last"),
        ("1 99999999999999999999", "ends past the last"),
        ("99999999999999999999 99999999999999999999", "ends past the last"),
        ("1 " + "9" * 5000, "is not two whole numbers"),
    ],
)
def test_bad_text_names_its_run(text, message):
    with pytest.raises(UserError, match=re.escape(message)):
        decode(text, (4, 3))


@pytest.mark.parametrize("space", ["  ", "\t", "\n", "\r\n", "\x1c", "\xa0"])
def test_any_white_space_may_stand_between_numbers(space):
    text = space.join(["", "6", "002", "10", "1", ""])

    assert encode(decode(text, (4, 3))) == "6 2 10 1"


@given(st.text("0123 \t\x1c\xa0-+._ex²٣", max_size=12))
def test_what_is_not_pairs_of_whole_numbers_is_refused(text):
    words = text.split()
    if len(words) % 2 or not all(re.fullmatch("[0-9]+", word) for word in words):
        with pytest.raises(UserError, match="run "):
            decode(text, (4, 3))


@given(st.lists(st.integers(-2, 14), max_size=6))
def test_numbers_decode_if_they_are_runs_in_order_and_else_name_a_run(numbers):
    starts, lengths = numbers[::2], numbers[1::2]
    ends = [start + length for start, length in zip(starts, lengths, strict=False)]
    good = (
        len(numbers) % 2 == 0
        and all(length > 0 for length in lengths)
        and all(start >= end for start, end in zip(starts, [1, *ends], strict=False))
        and all(end <= 13 for end in ends)
    )
    text = " ".join(map(str, numbers))

    if good:
        assert decode(text, (4, 3)).sum() == sum(lengths)
    else:
        with pytest.raises(UserError, match="run "):
            decode(text, (4, 3))


SIZES = {"case139": (234, 234), "case47": (360, 310), "case119": (360, 310)}


def test_every_real_mask_comes_back_to_the_letter(shared_data: Path):
    texts = 0
    for name in ("uwmgi_real/train.csv", "uwmgi/labels_without_scans.csv"):
        with (shared_data / name).open(newline="") as file:
            for row in csv.DictReader(file):
                size = SIZES.get(row["id"].partition("_")[0], (276, 276))
                texts += bool(row["segmentation"])
                assert encode(decode(row["segmentation"], size)) == row["segmentation"]
    assert texts == 251 + 1582
