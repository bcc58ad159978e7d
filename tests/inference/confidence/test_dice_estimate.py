import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.inference.confidence.dice_estimate import DiceEstimate, logit, mask_certainty, sigmoid
from volseg.inference.confidence.probability_histogram import LEVELS

shares = st.floats(0.01, 0.99)


def test_certainty_is_the_mean_probability_of_the_mask_whatever_lies_outside() -> None:
    counts = np.zeros((2, LEVELS), np.int64)
    counts[1, [255, 204, 51]] = 2, 1, 1

    assert mask_certainty(counts) == pytest.approx((1 + 1 + 0.8 + 0.2) / 4)
    counts[0, 3] = 10**7  # hardly any probability, which would add up to more than the mask
    assert mask_certainty(counts) == pytest.approx(0.75)


def test_an_empty_mask_has_no_certainty_and_no_dice() -> None:
    empty = mask_certainty(np.zeros((2, LEVELS), np.int64))

    assert math.isnan(empty)
    assert math.isnan(DiceEstimate().dice(empty))
    assert DiceEstimate(margin=(-1, 1)).bounds(empty) is None


@given(shares)
def test_without_a_calibration_certainty_stands_for_dice(certainty: float) -> None:
    assert DiceEstimate().dice(certainty) == pytest.approx(certainty)
    assert DiceEstimate().bounds(certainty) is None


@given(shares, shares, st.floats(0, 3), st.floats(-3, 3))
def test_more_certainty_is_never_less_dice(one: float, other: float, slope: float, height: float) -> None:
    estimate = DiceEstimate(intercept=height, slope=slope, margin=(-0.5, 0.3))
    low, high = sorted((one, other))

    assert estimate.dice(low) <= estimate.dice(high) + 1e-12
    ends = estimate.bounds(low)
    assert ends is not None
    assert 0 < ends[0] < estimate.dice(low) < ends[1] < 1


def test_a_line_from_logit_to_logit_by_hand() -> None:
    # certainty 0.8 is odds of 4; twice the slope squares them, and an intercept of log(1/2) halves them
    estimate = DiceEstimate(intercept=math.log(0.5), slope=2, margin=(math.log(0.5), math.log(2)))

    assert estimate.dice(0.8) == pytest.approx(8 / 9)
    assert estimate.bounds(0.8) == pytest.approx((4 / 5, 16 / 17))


def test_shares_at_the_ends_have_finite_logits() -> None:
    assert np.isfinite(logit([0.0, 1.0])).all()
    assert sigmoid(logit(0.3)) == pytest.approx(0.3)
