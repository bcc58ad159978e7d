"""The competition's score on cases worked out by hand."""

import math

import numpy as np
import pytest

from volseg.metrics.kaggle_score import KaggleTerms, normalised_hd, scan_terms, score_scans, slice_dice
from volseg.metrics.mask_pair import MaskPair

SPACING = (1.5, 1.5, 3.0)
NAN = math.nan


def mask(*places, shape=(8, 4, 10)):
    voxels = np.zeros(shape, bool)
    for place in places:
        voxels[place] = True
    return voxels


def compare(truth, prediction):
    return MaskPair(truth, prediction, SPACING)


def test_slices_empty_in_both_are_skipped_and_a_false_positive_scores_0():
    # slice 2: 2 true voxels, 1 of them found, no other: 2 * 1 / 3; slice 3: missed; slice 5: invented
    truth = mask((0, 0, 2), (1, 0, 2), (0, 0, 3))
    prediction = mask((1, 0, 2), (7, 3, 5))

    expected = [NAN, NAN, 2 / 3, 0, NAN, 0, NAN, NAN, NAN, NAN]
    assert slice_dice(compare(truth, prediction)) == pytest.approx(expected, nan_ok=True)


def test_slices_run_along_the_last_axis():
    truth = mask((0, 0, 1), (5, 0, 1), (0, 3, 1))

    assert np.nansum(slice_dice(compare(truth, truth))) == 1


@pytest.mark.parametrize(("place", "expected"), [((4, 0, 0), 4 / 8), ((0, 3, 0), 3 / 4), ((0, 0, 6), 6 / 10)])
def test_hd_is_in_shares_of_each_axis_over_the_root_of_3(place, expected):
    found = normalised_hd(compare(mask((0, 0, 0)), mask(place)))

    assert found == pytest.approx(expected / math.sqrt(3))


def test_hd_takes_the_worse_direction_and_no_millimetres():
    truth, prediction = mask((0, 0, 0), (4, 3, 0)), mask((0, 0, 0))
    expected = math.hypot(4 / 8, 3 / 4) / math.sqrt(3)

    assert normalised_hd(compare(truth, prediction)) == pytest.approx(expected)
    assert normalised_hd(compare(prediction, truth)) == pytest.approx(expected)
    assert normalised_hd(MaskPair(truth, prediction, (9.0, 9.0, 9.0))) == pytest.approx(expected)


def test_hd_is_1_where_one_is_empty_and_skipped_where_both_are():
    assert normalised_hd(compare(mask((0, 0, 0)), mask())) == 1
    assert normalised_hd(compare(mask(), mask((0, 0, 0)))) == 1
    assert math.isnan(normalised_hd(compare(mask(), mask())))


def test_hd_of_opposite_corners_nears_1_as_volumes_grow():
    ends = [mask((0, 0, 0), shape=(64, 64, 64)), mask((63, 63, 63), shape=(64, 64, 64))]

    assert normalised_hd(compare(*ends)) == pytest.approx(63 / 64)


def test_a_scan_has_a_dice_for_each_class_and_slice_and_a_distance_for_each_class():
    swapped = {
        "a": compare(mask((0, 0, 0)), mask((4, 0, 0))),
        "b": compare(mask((4, 0, 0)), mask((0, 0, 0))),
        "c": compare(mask(), mask()),
    }
    found = scan_terms(swapped)

    assert found.dice.shape == (3, 10)
    assert found.hd == pytest.approx([0.5 / math.sqrt(3), 0.5 / math.sqrt(3), NAN], nan_ok=True)
    assert found.hd_joint == 0  # the joint distance does not see that two organs were swapped


def test_the_score_is_a_mean_over_slices_and_classes_not_over_scans():
    # Dice: (1 + 0.5 + 0.75) / 3 counted pairs = 0.75; HD: (0.1 + 0.2 + 0.6) / 3 = 0.3; joint 0.25
    parts = [
        KaggleTerms(np.array([[1, NAN], [0.5, NAN]]), np.array([0.1, 0.2]), 0.2),
        KaggleTerms(np.array([[NAN, NAN], [NAN, 0.75]]), np.array([NAN, 0.6]), 0.3),
    ]
    found = score_scans(parts)

    assert found.dice == pytest.approx(0.75)
    assert found.hd == pytest.approx(0.3)
    assert found.hd_joint == pytest.approx(0.25)
    assert found.score == pytest.approx(0.4 * 0.75 + 0.6 * 0.7)
    assert found.score_joint == pytest.approx(0.4 * 0.75 + 0.6 * 0.75)


def test_perfect_masks_score_1():
    truth = mask((1, 1, 1), (2, 1, 5))
    found = score_scans([scan_terms({"a": compare(truth, truth), "b": compare(mask(), mask())})])

    assert (found.dice, found.hd, found.score, found.score_joint) == (1, 0, 1, 1)


def test_nothing_to_score_is_not_a_number():
    found = score_scans([scan_terms({"a": compare(mask(), mask())})])

    assert math.isnan(found.dice)
    assert math.isnan(found.score)
