"""Laws of the cleaning steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import TypeAdapter
from scipy import ndimage

from volseg.masks.postprocess import (
    DropSmall,
    Evidence,
    FillHoles,
    KeepLargest,
    Step,
    Threshold,
    at_least,
    clean,
    disjoint,
    unknown_classes,
)
from volseg.schema import members

SPACING = (1.5, 1.5, 3.0)  # a voxel is 6.75 mm³
SETTINGS = {"drop_small": {"min_mm3": 3 * 6.75}}
STEPS = [kind(**SETTINGS.get(name, {})) for name, kind in members(Step).items()]
every_step = pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
probabilities = arrays.arrays(
    np.uint8,
    arrays.array_shapes(min_dims=3, max_dims=3, max_side=8),
    elements=st.sampled_from([0, 102, 127, 128, 255]),
)
CORNERS = np.ones((3, 3, 3))


def evidence_of(mask, spacing_mm=SPACING):
    mask = np.asarray(mask)
    probability = mask if mask.dtype == np.uint8 else mask.astype(np.uint8) * 255
    return Evidence.start(probability, image=probability, spacing_mm=spacing_mm)


@every_step
@given(probability=probabilities)
def test_a_step_gives_a_bool_mask_of_the_same_shape_and_leaves_its_evidence(step, probability):
    evidence = evidence_of(probability)
    before = evidence.mask.copy()

    mask = step(evidence)

    assert mask.dtype == bool
    assert mask.shape == probability.shape
    assert np.array_equal(evidence.mask, before)


@every_step
@given(probability=probabilities)
def test_a_step_done_twice_does_no_more(step, probability):
    evidence = evidence_of(probability)

    assert np.array_equal(clean(evidence, [step, step], "x"), clean(evidence, [step], "x"))


@every_step
@given(probability=probabilities, axis=st.integers(0, 2))
def test_a_step_commutes_with_flips(step, probability, axis):
    flipped = step(evidence_of(np.flip(probability, axis)))

    assert np.array_equal(flipped, np.flip(step(evidence_of(probability)), axis))


@every_step
def test_a_step_leaves_an_empty_scan_empty(step):
    assert not step(evidence_of(np.zeros((4, 3, 2), np.uint8))).any()


@every_step
@given(probability=probabilities)
def test_a_step_never_cares_for_the_empty_space_around(step, probability):
    grown = np.pad(probability, 2)

    # a hole may open to the border of the scan: there the outside decides, so only masks that keep
    # away from the border are compared
    kept = np.pad(probability, 1)
    assert np.array_equal(step(evidence_of(grown))[1:-1, 1:-1, 1:-1], step(evidence_of(kept)))


@every_step
@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (7, 1, 1), (1, 7, 1), (3, 3, 1), (3, 3, 3), (5, 5, 5)]
)
def test_a_step_takes_as_many_parts_as_a_scan_can_hold(step, shape):
    board = np.indices(shape).sum(axis=0) % 2 == 0  # cc3d expects fewer parts than this has

    assert step(evidence_of(board)).shape == shape
    assert step(evidence_of(~board)).shape == shape


@given(probabilities)
def test_small_parts_and_only_they_are_dropped(probability):
    evidence = evidence_of(probability)
    parts, count = ndimage.label(evidence.mask, CORNERS)
    expected = np.zeros_like(evidence.mask)
    for part in range(1, count + 1):
        if (parts == part).sum() * 6.75 >= 3 * 6.75:
            expected |= parts == part

    assert np.array_equal(DropSmall(min_mm3=3 * 6.75)(evidence), expected)


@given(probabilities, st.integers(1, 3))
def test_the_largest_parts_stay_with_their_ties(probability, k):
    evidence = evidence_of(probability)
    parts, count = ndimage.label(evidence.mask, CORNERS)
    sizes = {part: (parts == part).sum() for part in range(1, count + 1)}
    kept = sorted(sizes.values(), reverse=True)[:k]

    mask = KeepLargest(k=k)(evidence)

    assert np.array_equal(mask, np.isin(parts, [p for p in sizes if sizes[p] in kept]))


@given(probabilities)
def test_holes_are_filled_as_scipy_fills_them(probability):
    evidence = evidence_of(probability)

    assert np.array_equal(FillHoles()(evidence), ndimage.binary_fill_holes(evidence.mask))


def test_a_size_is_in_cubic_millimetres():
    # two voxels: 2 * 1.5 * 1.5 * 3 = 13.5 mm³
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, :2] = True

    assert DropSmall(min_mm3=13.5)(evidence_of(mask)).sum() == 2
    assert DropSmall(min_mm3=13.6)(evidence_of(mask)).sum() == 0
    assert DropSmall(min_mm3=13.6)(evidence_of(mask, (1.5, 1.5, 3.1))).sum() == 2


def test_float32_voxel_sizes_do_not_drop_a_part_of_exactly_the_least_size():
    spacing = tuple(float(np.float32(side)) for side in (1.63, 1.63, 3.0))
    mask = np.ones((1, 1, 3), bool)

    assert DropSmall(min_mm3=3 * 1.63 * 1.63 * 3.0)(evidence_of(mask, spacing)).sum() == 3


def test_voxels_that_meet_at_a_corner_are_one_part():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True

    assert np.array_equal(KeepLargest()(evidence_of(mask)), mask)
    assert DropSmall(min_mm3=2 * 6.75)(evidence_of(mask)).sum() == 2


def test_a_hole_that_meets_the_outside_only_at_a_corner_is_filled():
    mask = np.ones((4, 4, 4), bool)
    mask[1, 1, 1] = mask[0, 0, 0] = False

    filled = FillHoles()(evidence_of(mask))

    assert filled[1, 1, 1]
    assert not filled[0, 0, 0]


def test_a_hole_that_is_open_at_the_edge_of_the_scan_is_no_hole():
    mask = np.ones((3, 3, 3), bool)
    mask[1, 1, 1:] = False

    assert np.array_equal(FillHoles()(evidence_of(mask)), mask)


@pytest.mark.parametrize(
    ("value", "least"), [(0.5, 128), (0.4, 102), (1.0, 255), (0.001, 1), (0.1, 26), (0.7, 179)]
)
def test_a_threshold_keeps_what_is_at_least_its_value(value, least):
    every = np.arange(256, dtype=np.uint8)

    assert at_least(every, value).argmax() == least
    assert at_least(every, value).sum() == 256 - least


def test_every_eighth_bit_step_is_its_own_threshold():
    every = np.arange(256, dtype=np.uint8)

    assert all(at_least(every, level / 255).sum() == 256 - level for level in range(1, 256))


def test_masks_start_where_the_probability_is_one_half():
    probability = np.array([0, 127, 128, 255], np.uint8).reshape(4, 1, 1)

    assert evidence_of(probability).mask.ravel().tolist() == [False, False, True, True]


def test_steps_run_in_the_order_given():
    # a shell of 26 voxels with a hole: 26 * 6.75 = 175.5 mm³, filled 182.25 mm³
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    mask[2, 2, 2] = False
    fill, drop = FillHoles(), DropSmall(min_mm3=182.25)

    assert clean(evidence_of(mask), [fill, drop], "x").sum() == 27
    assert clean(evidence_of(mask), [drop, fill], "x").sum() == 0


def test_a_step_touches_only_the_classes_it_names():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = True
    steps = [DropSmall(min_mm3=100, only=("stomach",))]

    assert clean(evidence_of(mask), steps, "stomach").sum() == 0
    assert clean(evidence_of(mask), steps, "large_bowel").sum() == 1


claimed = st.integers(1, 4).flatmap(
    lambda classes: st.tuples(
        arrays.arrays(np.uint8, (classes, 3, 3, 2), elements=st.integers(0, 3)),
        arrays.arrays(bool, (classes, 3, 3, 2)),
    )
)


@given(claimed)
def test_a_voxel_goes_to_the_strongest_of_those_that_claim_it_and_of_equals_to_the_first(claimed):
    probability, masks = claimed

    found = np.stack([*disjoint(zip(probability, masks, strict=True), masks.shape[1:])])

    strongest = np.where(masks, probability.astype(int), -1).argmax(axis=0)
    for number, mask in enumerate(found):
        assert np.array_equal(mask, (strongest == number) & masks.any(axis=0))


@given(claimed)
def test_claims_that_do_not_meet_stay_as_they_are(claimed):
    probability, masks = claimed
    apart = masks & (masks.cumsum(axis=0) == 1)

    found = disjoint(zip(probability, apart, strict=True), apart.shape[1:])

    assert np.array_equal(np.stack([*found]), apart)


def test_a_step_for_a_class_the_data_lacks_is_named():
    steps = [Threshold(), KeepLargest(only=("stomac", "stomach"))]

    assert list(unknown_classes(steps, ("stomach", "large_bowel"))) == [
        "postprocess.1.only: no class 'stomac', did you mean stomach?"
    ]
    assert next(unknown_classes(steps, ("a", "b"))).endswith("(classes: a, b)")


def test_a_bare_name_is_a_step_with_its_defaults():
    steps = TypeAdapter(tuple[Step, ...]).validate_python(["fill_holes", {"name": "keep_largest"}])

    assert steps == (FillHoles(), KeepLargest(k=1))
