import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg import formatting
from volseg.visualization.row_charts import shorten_name
from volseg.visualization.svg import Scale, nice_step

values = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=1, max_size=20)
positive = st.lists(st.floats(1e-3, 1e7), min_size=1, max_size=20)


@given(values | positive, st.booleans())
def test_a_scale_holds_all_values_in_order(some, zero) -> None:
    scale = Scale.from_values(some, start=10, end=390, zero=zero)

    pixels = [scale(value) for value in sorted(some)]
    assert pixels == sorted(pixels)
    assert scale.low <= min(some) or math.isclose(scale.low, min(some), rel_tol=1e-6)
    assert 10 <= pixels[0] <= pixels[-1] <= 390


@given(values | positive, st.floats(20, 80))
def test_ticks_lie_on_the_scale_and_leave_room_for_their_words(some, apart) -> None:
    scale = Scale.from_values(some, start=10, end=390)
    ticks = scale.ticks(apart)

    near = 1e-3 * (scale.high if scale.log else scale.span)
    assert ticks
    assert all(scale.low - near <= tick <= scale.high + near for tick in ticks)
    assert all(scale(b) - scale(a) >= apart - 1e-3 for a, b in pairwise(ticks))


def test_a_scale_is_logarithmic_only_where_values_differ_much() -> None:
    assert Scale.from_values([1, 101], start=0, end=1).log
    assert not Scale.from_values([1, 99], start=0, end=1).log
    assert not Scale.from_values([0, 1000], start=0, end=1).log


@given(st.floats(1e-6, 1e9))
def test_a_nice_step_is_the_next_of_1_2_and_5(step) -> None:
    found = nice_step(step)
    digit = found / 10 ** math.floor(math.log10(found) + 1e-9)

    assert step * 0.999 <= found <= step * 2.51
    assert min(abs(digit - one) for one in (1, 2, 5)) < 1e-6


@pytest.mark.parametrize(
    ("value", "told"),
    [(1234.4, "1\u202f234"), (56.72, "56.7"), (0.8912, "0.891"), (0, "0"), (-1500, "-1\u202f500")],
)
def test_numbers_have_three_digits_or_are_whole(value, told) -> None:
    assert formatting.format_number(value) == told


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.571, "57"), (0.0312, "3.1"), (0.0004, "<0.1"), (0, "0"), (1, "100"), (0.0996, "10")],
)
def test_shares_are_told_in_percent(share, told) -> None:
    assert formatting.format_percent(share) == f"{told}\u202f%"


def test_a_long_name_keeps_both_ends() -> None:
    name = "a_long_name_of_an_organ_that_goes_on_and_on_number_17"

    assert shorten_name("stomach", beside="379 ml (215–698)") == "stomach"
    assert shorten_name(name, beside="379 ml (215–698)").startswith("a_long")
    assert shorten_name(name, beside="379 ml (215–698)").endswith("_17")
    assert len(shorten_name(name, beside="379 ml (215–698)")) < 36
