"""What holds for every step there is; none is named here."""

import dataclasses
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.step_inputs import of_every_kind
from volseg.postprocessing import Step, StepInput, apply_steps
from volseg.postprocessing.hole_filling import FillingStep
from volseg.postprocessing.removal import RemovalStep
from volseg.postprocessing.thresholding import ThresholdingStep
from volseg.schema import union_members

SPACING = (6.0, 5.0, 8.0)  # so large that the values worth trying make a difference in 8 voxels
STEPS = of_every_kind()
every_step = pytest.mark.parametrize("step", STEPS, ids=repr)


@st.composite
def evidences(draw, max_side: int = 7) -> StepInput:
    """Any probability, an image with air and tissue, and what earlier steps might have left."""
    shape = draw(st.tuples(*[st.integers(1, max_side)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    full = draw(st.sampled_from([0.1, 0.4, 0.7]))
    blocks = rng.random([-(-side // 3) for side in shape]) < 0.5
    tissue = np.kron(blocks, np.ones((3, 3, 3), np.uint16))[tuple(slice(n) for n in shape)]
    some = rng.random(shape) < full
    return StepInput(
        mask=rng.random(shape) < full,
        probability=rng.choice(np.array([90, 127, 128, 190, 255], np.uint8), shape) * some,
        image=tissue * rng.integers(150, 250, shape, np.uint16),
        spacing_mm=SPACING,
    )


def each(evidence: StepInput, change) -> StepInput:
    """The same with its arrays changed."""
    names = ("mask", "probability", "image")
    return dataclasses.replace(evidence, **{name: change(getattr(evidence, name)) for name in names})


@every_step
@given(evidence=evidences())
def test_a_step_gives_a_bool_mask_of_the_same_shape_and_leaves_its_evidence(step, evidence):
    for array in (evidence.mask, evidence.probability, evidence.image):
        array.flags.writeable = False

    mask = step(evidence)

    assert mask.dtype == bool
    assert mask.shape == evidence.mask.shape


@every_step
@given(evidence=evidences())
def test_a_step_starts_anew_or_removes_or_fills_as_it_says(step, evidence):
    mask = step(evidence)

    assert isinstance(step, ThresholdingStep | RemovalStep | FillingStep)
    if isinstance(step, ThresholdingStep):
        assert np.array_equal(mask, step(dataclasses.replace(evidence, mask=~evidence.mask)))
        assert not mask.any() or evidence.probability.max() >= 255 * step.lowest_probability - 1e-6
    if isinstance(step, RemovalStep):
        assert not (mask & ~evidence.mask).any()
    if isinstance(step, FillingStep):
        assert not (evidence.mask & ~mask).any()


@every_step
@given(evidence=evidences())
def test_a_step_done_twice_does_no_more(step, evidence):
    once = evidence.with_mask(step(evidence))

    assert np.array_equal(step(once), once.mask)


@every_step
@given(evidence=evidences(), axis=st.integers(0, 2))
def test_a_step_commutes_with_flips(step, evidence, axis):
    flipped = each(evidence, lambda array: np.flip(array, axis))

    assert np.array_equal(step(flipped), np.flip(step(evidence), axis))


@every_step
@given(evidence=evidences(), axes=st.sampled_from([*permutations(range(3))]))
def test_a_step_does_not_care_in_which_order_a_scan_keeps_its_axes(step, evidence, axes):
    """X and Y may be exchanged; so may all three, where the evidence says which one is across slices."""
    turned = dataclasses.replace(
        each(evidence, lambda array: array.transpose(axes)),
        spacing_mm=tuple(SPACING[axis] for axis in axes),
        slice_axis=axes.index(2),
    )

    assert np.array_equal(step(turned), step(evidence).transpose(axes))


@every_step
@given(evidence=evidences())
def test_a_step_does_not_care_how_a_scan_lies_in_memory(step, evidence):
    other = each(evidence, np.asfortranarray)

    assert np.array_equal(step(other), step(evidence))


@every_step
@given(evidence=evidences())
def test_a_step_leaves_an_empty_scan_empty(step, evidence):
    nothing = np.zeros_like(evidence.probability)
    empty = dataclasses.replace(evidence, mask=nothing > 0, probability=nothing)

    assert not step(empty).any()


@every_step
@given(evidence=evidences(max_side=5), more=st.tuples(*[st.integers(0, 3)] * 6))
def test_a_step_never_cares_for_the_empty_space_around(step, evidence, more):
    """Beyond a margin: what lies at the border of a scan may go on beyond it, for all one knows."""
    apart = each(evidence, lambda array: np.pad(array, 2))
    widths = [(more[0], more[1]), (more[2], more[3]), (more[4], more[5])]
    inside = tuple(slice(a, a + side + 4) for (a, _), side in zip(widths, evidence.mask.shape, strict=True))
    larger = each(apart, lambda array: np.pad(array, widths))

    found = step(larger)

    assert np.array_equal(found[inside], step(apart))
    assert found.sum() == found[inside].sum()


@every_step
@given(one=evidences(), other=evidences())
def test_a_step_remembers_no_scan(step, one, other):
    alone = step(dataclasses.replace(one))
    step(other)

    assert np.array_equal(step(one), alone)


@every_step
@given(evidence=evidences())
def test_a_step_leaves_classes_alone_that_it_does_not_name(step, evidence):
    named = step.model_copy(update={"only": ("stomach",)})

    assert np.array_equal(apply_steps(evidence, [named], "large_bowel"), evidence.mask)
    assert np.array_equal(apply_steps(evidence, [named], "stomach"), step(evidence))


@every_step
@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 1, 1), (1, 7, 1), (3, 3, 1), (3, 3, 3), (5, 5, 5)])
def test_a_step_takes_as_many_parts_as_a_scan_can_hold(step, shape):
    """cc3d expects fewer parts than a chess board has."""
    board = np.indices(shape).sum(axis=0) % 2 == 0
    for mask in (board, ~board):
        probability = mask.astype(np.uint8) * 255

        assert step(StepInput(mask, probability, probability, SPACING)).shape == shape


@pytest.mark.parametrize("kind", union_members(Step).values())
def test_every_kind_of_step_does_something(kind):
    """Else the laws above would say nothing of it: organs with holes, lone voxels, air."""
    rng = np.random.default_rng(0)
    near = np.zeros((24, 24, 12), bool)
    near[6:18, 6:18, 2:10] = True
    tissue = np.zeros_like(near)
    tissue[4:14, 4:20] = True
    evidence = StepInput(
        mask=near & (rng.random(near.shape) < 0.9) | (rng.random(near.shape) < 0.02),
        probability=rng.integers(0, 256, near.shape).astype(np.uint8),
        image=tissue * np.uint16(200),
        spacing_mm=SPACING,
    )

    steps = [step for step in STEPS if isinstance(step, kind)]

    assert any(not np.array_equal(step(evidence), evidence.mask) for step in steps)


@pytest.mark.parametrize("kind", union_members(Step).values())
def test_every_number_of_a_step_names_values_worth_trying_from_low_to_high(kind):
    for key, field in kind.model_fields.items():
        if key not in ("name", "only"):
            assert field.examples
            assert field.examples == sorted(set(field.examples))
