"""Dropping parts and slices, against scipy and by hand in mm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tests.step_inputs import CORNERS, evidence_of, probabilities
from volseg.postprocessing import (
    DropSmall,
    DropSmallInSlices,
    EmptyWeakSlices,
    KeepLargest,
    LimitToBody,
    StepInput,
)


@given(probabilities)
def test_small_parts_and_only_they_are_dropped(probability):
    evidence = evidence_of(probability)
    parts, count = ndimage.label(evidence.mask, CORNERS)
    expected = np.zeros_like(evidence.mask)
    for part in range(1, count + 1):
        if (parts == part).sum() * 6.75 >= 3 * 6.75:
            expected |= parts == part

    assert np.array_equal(DropSmall(min_mm3=3 * 6.75)(evidence), expected)


@given(probabilities)
def test_in_slices_small_parts_and_only_they_are_dropped(probability):
    evidence = evidence_of(probability)
    expected = np.zeros_like(evidence.mask)
    for z in range(expected.shape[2]):
        parts, count = ndimage.label(evidence.mask[:, :, z], np.ones((3, 3)))
        for part in range(1, count + 1):
            if (parts == part).sum() * 2.25 >= 3 * 2.25:
                expected[:, :, z] |= parts == part

    assert np.array_equal(DropSmallInSlices(min_mm2=3 * 2.25)(evidence), expected)


@given(probabilities, st.integers(1, 3))
def test_the_largest_parts_stay_with_their_ties(probability, k):
    evidence = evidence_of(probability)
    parts, count = ndimage.label(evidence.mask, CORNERS)
    sizes = {part: (parts == part).sum() for part in range(1, count + 1)}
    kept = sorted(sizes.values(), reverse=True)[:k]

    mask = KeepLargest(k=k)(evidence)

    assert np.array_equal(mask, np.isin(parts, [p for p in sizes if sizes[p] in kept]))


@given(probabilities, st.sampled_from([102, 128, 255]), st.integers(0, 4))
def test_slices_without_evidence_are_emptied(probability, level, pixels):
    evidence = StepInput(probability > 0, probability, probability, (1.5, 1.5, 3.0))
    expected = evidence.mask.copy()
    for z in range(expected.shape[2]):
        here = probability[:, :, z][expected[:, :, z]]
        if here.size < pixels or here.max(initial=0) < level:
            expected[:, :, z] = False

    step = EmptyWeakSlices(min_probability=level / 255, min_mm2=pixels * 2.25)

    assert np.array_equal(step(evidence), expected)


def test_only_what_is_left_of_a_slice_speaks_for_it():
    """A certain voxel that an earlier step has removed does not."""
    probability = np.full((3, 3, 2), 110, np.uint8)
    probability[0, 0] = 255
    mask = np.ones((3, 3, 2), bool)
    mask[0, 0, 0] = False

    left = EmptyWeakSlices()(StepInput(mask, probability, probability, (1.0, 1.0, 1.0)))

    assert left.any(axis=(0, 1)).tolist() == [False, True]


@pytest.mark.parametrize(
    ("step", "enough"),
    [
        (DropSmall, {"min_mm3": 13.5}),  # two voxels: 2 * 1.5 * 1.5 * 3 mm³
        (DropSmallInSlices, {"min_mm2": 4.5}),  # 2 * 1.5 * 1.5 mm²
        (EmptyWeakSlices, {"min_mm2": 4.5}),
    ],
)
def test_sizes_are_in_millimetres(step, enough):
    mask = np.zeros((3, 3, 3), bool)
    mask[0, :2, 0] = True
    key, size = next(iter(enough.items()))

    assert step(**enough)(evidence_of(mask)).sum() == 2
    assert step(**{key: size * 1.01})(evidence_of(mask)).sum() == 0
    assert step(**{key: size * 1.01})(evidence_of(mask, (1.5, 1.6, 3.0))).sum() == 2


@pytest.mark.parametrize(("axis", "dropped"), [(0, True), (1, True), (2, False)])
def test_slices_lie_across_their_axis(axis, dropped):
    """A line along X and Y in one slice, of 4 mm²: across another axis it is two lone pixels at most."""
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, 1] = mask[1, 1, 1] = mask[2, 2, 1] = mask[2, 1, 1] = True
    evidence = evidence_of(mask, (1.0, 1.0, 1.0), slice_axis=axis)

    assert (not DropSmallInSlices(min_mm2=3.0)(evidence).any()) == dropped


def test_parts_that_touch_in_another_slice_only_are_two_in_slices():
    mask = np.zeros((5, 2, 2), bool)
    mask[:, 0, 0] = True
    mask[0, 0, 1] = mask[4, 0, 1] = True

    left = DropSmallInSlices(min_mm2=2 * 2.25)(evidence_of(mask))

    assert left.sum(axis=(0, 1)).tolist() == [5, 0]


def test_float32_voxel_sizes_do_not_drop_a_part_of_exactly_the_least_size():
    spacing = tuple(float(np.float32(side)) for side in (1.63, 1.63, 3.0))
    evidence = evidence_of(np.ones((1, 3, 1), bool), spacing)

    assert DropSmall(min_mm3=3 * 1.63 * 1.63 * 3.0)(evidence).sum() == 3
    assert DropSmallInSlices(min_mm2=3 * 1.63 * 1.63)(evidence).sum() == 3
    assert EmptyWeakSlices(min_mm2=3 * 1.63 * 1.63)(evidence).sum() == 3


def test_voxels_that_meet_at_a_corner_are_one_part():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True

    assert np.array_equal(KeepLargest()(evidence_of(mask)), mask)
    assert DropSmall(min_mm3=2 * 6.75)(evidence_of(mask)).sum() == 2


def test_what_lies_in_the_air_is_cut_off_beyond_the_margin():
    """Tissue at x < 10; 7 mm are five voxels of 1.5 mm, rounded up."""
    image = np.zeros((30, 12, 6), np.uint16)
    image[:10] = 500
    mask = np.zeros(image.shape, bool)
    mask[5:20, 6, 3] = mask[25:, 6, 3] = True

    left = LimitToBody(margin_mm=7.0)(evidence_of(mask, image=image))

    assert np.flatnonzero(left[:, 6, 3]).tolist() == list(range(5, 15))


def test_the_body_is_the_same_however_many_slices_are_looked_at_together(monkeypatch):
    rng = np.random.default_rng(0)
    image = (np.kron(rng.random((5, 5, 12)) < 0.2, np.ones((6, 6, 4))) * 300).astype(np.uint16)
    evidence = evidence_of(np.ones(image.shape, bool), image=image)
    together = LimitToBody(margin_mm=2)(evidence)

    monkeypatch.setattr("volseg.postprocessing.removal.SLICES", 5)

    assert 0 < together.mean() < 1
    assert np.array_equal(LimitToBody(margin_mm=2)(evidence), together)
