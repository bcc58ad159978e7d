from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.postprocessing import StepInput, apply_steps, at_least
from volseg.postprocessing.slice_gate import SliceGate

shapes = st.tuples(*[st.integers(1, 6)] * 3)
axes = st.integers(0, 2)


def some(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def evidence(shape: tuple[int, ...], seed: int, axis: int) -> StepInput:
    image = np.zeros(shape, np.float32)
    return StepInput.from_probability(
        some(shape, seed), image=image, spacing_mm=(1.0, 1.0, 3.0), slice_axis=axis
    )


def test_a_slice_with_too_few_sure_pixels_is_emptied() -> None:
    """By hand, three slices along z: two pixels of at least 0.6 (153 / 255), one and two; wanted are two."""
    found = np.zeros((2, 2, 3), np.uint8)
    found[:, 0, 0] = 153, 255
    found[:, 0, 1] = 152, 255
    found[:, :, 2] = [[153, 0], [0, 153]]
    whole = replace(evidence((2, 2, 3), 0, 2), mask=np.ones((2, 2, 3), bool))

    mask = SliceGate(found, probability=0.6, pixels=2)(whole)

    assert mask.all(axis=(0, 1)).tolist() == [True, False, True]
    assert mask.any(axis=(0, 1)).tolist() == [True, False, True]


@given(shapes, st.integers(0, 99), axes, st.floats(0.01, 1), st.integers(0, 40))
def test_a_slice_is_emptied_or_left_as_it_is(shape, seed, axis, probability, pixels) -> None:
    before, found = evidence(shape, seed, axis), some(shape, seed + 100)

    after = SliceGate(found, probability, pixels)(before)

    for number in range(shape[axis]):
        here = (slice(None),) * axis + (number,)
        enough = (found[here] / 255 >= probability - 1e-9).sum() >= pixels
        assert np.array_equal(after[here], before.mask[here] & enough)
    assert np.array_equal(SliceGate(found, probability, pixels)(before.with_mask(after)), after)


@given(shapes, st.integers(0, 99), axes)
def test_a_gate_of_0_pixels_changes_nothing(shape, seed, axis) -> None:
    before = evidence(shape, seed, axis)

    assert np.array_equal(SliceGate(some(shape, seed + 1), 0.6, 0)(before), before.mask)


@given(shapes, st.integers(0, 99), axes, st.floats(0.01, 0.5), st.integers(0, 9))
def test_a_run_that_gates_itself_empties_only_slices_with_few_pixels(
    shape, seed, axis, probability, pixels
) -> None:
    before = evidence(shape, seed, axis)

    after = SliceGate(before.probability, probability, pixels)(before)

    counts = before.mask.sum(axis=tuple({0, 1, 2} - {axis}))
    kept = np.moveaxis(after, axis, 2)[..., counts >= pixels]
    assert np.array_equal(kept, np.moveaxis(before.mask, axis, 2)[..., counts >= pixels])


@pytest.mark.parametrize("pixels", [0, 3])
def test_what_a_gate_takes_is_told_as_the_change_of_a_step(pixels: int) -> None:
    before, changes = evidence((4, 4, 3), 5, 2), []

    apply_steps(before, [SliceGate(np.zeros((4, 4, 3), np.uint8), 0.6, pixels)], "stomach", changes)

    (change,) = changes
    lost = at_least(before.probability, 0.5).sum() * 3 / 1000 if pixels else 0
    assert (change.step, change.added_ml, change.removed_ml) == ("gate", 0, pytest.approx(lost))
