import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.step_inputs import evidence_of, probabilities
from volseg.postprocessing import at_least


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


def test_a_mask_that_is_the_same_keeps_what_is_known_of_it():
    evidence = evidence_of(np.ones((2, 2, 2), bool))

    assert evidence.with_mask(evidence.mask.copy()).components is evidence.components
    assert evidence.with_mask(~evidence.mask).components.count == 0


@given(probabilities, st.integers(0, 2))
def test_slices_are_turned_to_the_end_and_back(probability, axis):
    evidence = evidence_of(probability, (1.0, 2.0, 3.0), slice_axis=axis)

    turned = evidence.slices_last

    assert turned.spacing_mm[2] == evidence.spacing_mm[axis]
    assert turned.probability.shape[2] == probability.shape[axis]
    assert np.array_equal(evidence.to_native_axes(turned.mask), evidence.mask)


@pytest.mark.parametrize(("axis", "mm2"), [(0, 6.0), (1, 3.0), (2, 2.0)])
def test_a_pixel_lies_within_its_slice(axis, mm2):
    evidence = evidence_of(np.ones((1, 1, 1), bool), (1.0, 2.0, 3.0), slice_axis=axis)

    assert evidence.pixel_mm2 == evidence.slices_last.pixel_mm2 == mm2
