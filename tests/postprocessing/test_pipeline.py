"""Steps in order, by class, and what they report."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import ndimage

from tests.step_inputs import CORNERS, evidence_of, of_every_kind, probabilities
from volseg.postprocessing import (
    DropSmall,
    FillHoles,
    Hysteresis,
    KeepLargest,
    Step,
    StepChange,
    Threshold,
    apply_steps,
    ineffective_steps,
    lowest_threshold,
    unknown_classes,
)

some_steps = st.lists(st.sampled_from(of_every_kind()), max_size=5)


def test_steps_run_in_the_order_given():
    # a shell of 26 voxels with a hole: 26 * 6.75 = 175.5 mm³, filled 182.25 mm³
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    mask[2, 2, 2] = False
    fill, drop = FillHoles(), DropSmall(min_mm3=182.25)

    assert apply_steps(evidence_of(mask), [fill, drop], "x").sum() == 27
    assert apply_steps(evidence_of(mask), [drop, fill], "x").sum() == 0


def test_a_step_touches_only_the_classes_it_names():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = True
    steps = [DropSmall(min_mm3=100, only=("stomach",))]

    assert apply_steps(evidence_of(mask), steps, "stomach").sum() == 0
    assert apply_steps(evidence_of(mask), steps, "large_bowel").sum() == 1


@given(probabilities, some_steps)
def test_a_step_after_another_sees_what_that_left(probability, steps):
    evidence = evidence_of(probability)
    mask = evidence.mask
    for step in steps:
        mask = step(evidence.with_mask(mask))

    assert np.array_equal(apply_steps(evidence, steps, "x"), mask)


@given(probabilities, some_steps)
def test_each_step_reports_its_parts_and_volumes(probability, steps):
    evidence, changes = evidence_of(probability), []
    masks = [apply_steps(evidence, steps[:count], "x") for count in range(len(steps) + 1)]

    mask = apply_steps(evidence, steps, "x", changes)

    assert np.array_equal(mask, masks[-1])
    assert changes == [
        StepChange(
            step.name,
            ndimage.label(before, CORNERS)[1],
            ndimage.label(after, CORNERS)[1],
            round((after & ~before).sum() * 0.00675, 6),
            round((before & ~after).sum() * 0.00675, 6),
        )
        for step, before, after in zip(steps, masks[:-1], masks[1:], strict=True)
    ]


def test_a_change_by_hand():
    """A shell with a hole and two lone voxels; a voxel is 6.75 mm³, so 0.00675 ml."""
    mask = np.zeros((9, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    mask[2, 2, 2] = False
    mask[6, 0, 0] = mask[8, 4, 4] = True
    steps = [FillHoles(), DropSmall(min_mm3=20, only=("x",)), KeepLargest(only=("other",))]
    changes = []

    apply_steps(evidence_of(mask), steps, "x", changes)

    assert changes == [
        StepChange("fill_holes", 3, 3, 0.00675, 0.0),
        StepChange("drop_small", 3, 1, 0.0, 0.0135),
    ]
    assert [type(value) for value in vars(changes[0]).values()] == [str, int, int, float, float]


def test_the_lowest_probability_that_is_looked_at_is_that_of_the_steps_that_start():
    steps = [Threshold(value=0.7), Hysteresis(high=0.6, low=0.2, only=("stomach",)), FillHoles()]

    assert lowest_threshold(steps, "stomach") == 0.2
    assert lowest_threshold(steps, "large_bowel") == 0.5  # where masks are before any step
    assert lowest_threshold([], "stomach") == 0.5


def test_a_step_for_a_class_the_data_lacks_is_named():
    steps = [Threshold(), KeepLargest(only=("stomac", "stomach"))]

    assert list(unknown_classes(steps, ("stomach", "large_bowel"))) == [
        "postprocess.1.only: no class 'stomac', did you mean stomach?"
    ]
    assert next(unknown_classes(steps, ("a", "b"))).endswith("(classes: a, b)")


def test_a_step_whose_work_is_lost_is_named():
    drop = DropSmall(min_mm3=9, only=("stomach",))
    classes = ("stomach", "large_bowel")

    assert list(ineffective_steps([drop, FillHoles(), Hysteresis(only=("stomach",))], classes)) == [
        "postprocess.0: drop_small does nothing, as hysteresis after it starts anew; leave it out, or "
        "give hysteresis first"
    ]
    assert len(list(ineffective_steps([Threshold(), FillHoles(), Hysteresis()], classes))) == 2


def test_steps_that_do_something_for_some_class_are_not_named():
    classes = ("stomach", "large_bowel")
    of_one = Threshold(value=0.4, only=("stomach",))

    assert not list(ineffective_steps([Threshold(), of_one, FillHoles()], classes))
    assert not list(ineffective_steps([of_one, Threshold(only=("large_bowel",)), FillHoles()], classes))


def test_a_bare_name_is_a_step_with_its_defaults():
    steps = TypeAdapter(tuple[Step, ...]).validate_python(["fill_holes", {"name": "keep_largest"}])

    assert steps == (FillHoles(), KeepLargest(k=1))
