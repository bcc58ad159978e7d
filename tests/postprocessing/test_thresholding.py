"""Thresholds, hysteresis and smoothing, against scipy and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from tests.step_inputs import CORNERS, evidence_of, probabilities, volumes
from volseg.postprocessing import Hysteresis, SmoothAcrossSlices, Threshold
from volseg.postprocessing.thresholding import WHOLE, gaussian_weights

any_probability = volumes(*range(256))


@given(any_probability, st.sampled_from([0.2, 0.4, 0.5, 0.8]))
def test_a_threshold_keeps_what_is_at_least_its_value(probability, value):
    assert np.array_equal(Threshold(value=value)(evidence_of(probability)), probability >= value * 255)


@given(probabilities)
def test_hysteresis_keeps_low_parts_that_hold_a_high_voxel(probability):
    parts, count = ndimage.label(probability >= 102, CORNERS)
    expected = np.zeros(probability.shape, bool)
    for part in range(1, count + 1):
        if probability[parts == part].max() >= 128:
            expected |= parts == part

    assert np.array_equal(Hysteresis(high=0.5, low=0.4)(evidence_of(probability)), expected)


def test_a_high_voxel_holds_its_low_neighbours_over_a_corner_and_no_others():
    probability = np.zeros((4, 4, 4), np.uint8)
    probability[0, 0, 0] = 128
    probability[1, 1, 1] = probability[3, 3, 3] = 102

    mask = Hysteresis()(evidence_of(probability))

    assert np.argwhere(mask).tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(("high", "low"), [(0.4, 0.5), (0.5, 0.5)])
def test_hysteresis_is_refused_unless_low_is_below_high(high, low):
    with pytest.raises(ValidationError, match=f"low is {low} and high {high}; expected low below"):
        Hysteresis(high=high, low=low)


def averaged(probability: np.ndarray, sigma: float) -> np.ndarray:
    """The reference, in whole 256ths: each slice by the slices around it that there are."""
    weights = gaussian_weights(sigma)
    reach = len(weights) // 2
    depth = probability.shape[2]
    found = np.zeros(probability.shape)
    for z in range(depth):
        near = {z + k: weights[k + reach] for k in range(-reach, reach + 1) if 0 <= z + k < depth}
        found[:, :, z] = sum(w * probability[:, :, at].astype(float) for at, w in near.items())
        found[:, :, z] /= sum(near.values())
    return found


@given(any_probability, st.sampled_from([0.5, 3.0, 4.0, 20.0]), st.sampled_from([0.3, 0.5, 0.8]))
def test_slices_are_averaged_and_cut_again(probability, sigma_mm, value):
    """Where the mean is no nearer to the value than rounding brings it."""
    mean = averaged(probability, sigma_mm / 3.0)

    mask = SmoothAcrossSlices(sigma_mm=sigma_mm, value=value)(evidence_of(probability))

    clear = np.abs(mean - value * 255) > 1e-9
    assert np.array_equal(mask[clear], (mean >= value * 255)[clear])


@given(any_probability, st.floats(0.4, 3.0))
def test_the_average_is_a_gaussians_to_two_hundredths(probability, sigma):
    ones = np.ones(probability.shape)
    by_scipy = ndimage.gaussian_filter1d(
        probability.astype(float), sigma, mode="constant", radius=len(gaussian_weights(sigma)) // 2
    ) / ndimage.gaussian_filter1d(ones, sigma, mode="constant", radius=len(gaussian_weights(sigma)) // 2)

    assert np.abs(averaged(probability, sigma) - by_scipy).max() < 0.02 * 255


@given(st.floats(0.001, 100.0))
def test_a_kernel_is_whole_symmetric_and_falls_from_its_middle(sigma):
    weights = np.array(gaussian_weights(sigma))

    assert weights.sum() == WHOLE
    assert np.array_equal(weights, weights[::-1])
    assert weights.min() >= 0
    assert len(weights) % 2 == 1
    assert (np.diff(weights[: len(weights) // 2]) >= -1).all()  # rounded, so by one it may


def test_a_slice_that_its_neighbours_lack_goes_and_one_that_they_have_is_mended():
    """sigma is one slice: 0.4 of a mean is the slice itself, 0.24 each neighbour."""
    probability = np.zeros((1, 1, 20), np.uint8)
    probability[..., 2] = 255
    probability[..., 8:18] = 255
    probability[..., 12] = 0

    mask = SmoothAcrossSlices(sigma_mm=3.0)(evidence_of(probability))

    assert np.flatnonzero(mask).tolist() == list(range(8, 18))


def test_a_slice_below_the_value_whose_neighbours_are_certain_becomes_mask():
    """At the scan's ends the mean is (0.4 * 100 + 0.3 * 255) / 0.7 = 166."""
    probability = np.full((1, 1, 9), 255, np.uint8)
    probability[..., 0] = probability[..., -1] = 100
    step = SmoothAcrossSlices(sigma_mm=3.0)

    assert step(evidence_of(probability)).all()


def test_the_ends_of_a_scan_count_for_nothing():
    """An organ that goes on beyond the scan is as thick in the last slice as in the last but one."""
    probability = np.full((2, 2, 5), 130, np.uint8)

    assert SmoothAcrossSlices(sigma_mm=9.0)(evidence_of(probability)).all()
    assert SmoothAcrossSlices(sigma_mm=9.0)(evidence_of(probability[:, :, :1])).all()


@pytest.mark.parametrize("value", [0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 1.0])
def test_where_all_slices_are_alike_smoothing_cuts_as_a_threshold_does(value):
    """Also where a level is just the value: 153 of 255 is 0.6."""
    levels = np.arange(256, dtype=np.uint8)[:, None, None].repeat(5, axis=2)

    mask = SmoothAcrossSlices(sigma_mm=3.0, value=value)(evidence_of(levels))

    assert np.array_equal(mask, Threshold(value=value)(evidence_of(levels)))


def test_a_sigma_is_in_millimetres():
    """Slices 10 mm apart have nothing to say to each other at a sigma of 3 mm."""
    probability = np.zeros((1, 1, 5), np.uint8)
    probability[..., 2] = 255
    step = SmoothAcrossSlices(sigma_mm=3.0)

    assert step(evidence_of(probability, (1.0, 1.0, 10.0))).sum() == 1
    assert step(evidence_of(probability, (1.0, 1.0, 3.0))).sum() == 0
