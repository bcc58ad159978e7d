"""Laws of the cluster bootstrap."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from volseg.evaluation.bootstrap import LEAST_CASES, RESAMPLES, SEED, Estimate, difference, mean

RNG = np.random.default_rng(5)


def cases(count: int, *, days: int = 3, columns: int = 2) -> dict[str, np.ndarray]:
    return {f"case{number}": RNG.uniform(size=(days, columns)) for number in range(count)}


def population(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Cases with one to five days whose true mean is 0; days of a case are much alike."""
    return {
        f"case{number}": rng.normal() + 0.3 * rng.normal(size=rng.integers(1, 6)) for number in range(count)
    }


def shaped(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every scan taken for a case of its own, as it must not be."""
    scans = [value for case in values.values() for value in case]
    return {f"scan{number}": np.array([value]) for number, value in enumerate(scans)}


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize("count", [8, 12, 30])
def test_95_of_100_intervals_over_cases_hold_the_truth_and_far_fewer_over_scans(count: int) -> None:
    rng, trials = np.random.default_rng(count), 600
    drawn = [population(rng, count) for _ in range(trials)]
    over_cases = sum(holds(mean(values), 0) for values in drawn)
    over_scans = sum(holds(mean(shaped(values)), 0) for values in drawn[:100])

    lowest, highest = stats.binom.ppf((1e-3, 1 - 1e-3), trials, (0.93, 0.96))
    assert lowest <= over_cases <= highest
    assert over_scans < stats.binom.ppf(1e-3, 100, 0.93)


@pytest.mark.parametrize("skew", [False, True])
def test_with_one_scan_a_case_it_is_scipys_percentile_interval_at_the_expanded_level(skew: bool) -> None:
    count = 11
    values = RNG.normal(size=count)
    values = np.exp(values) if skew else values
    t_over_z = math.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=1 - 2 * stats.norm.sf(t_over_z),
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    found = mean({f"case{number:02}": [value] for number, value in enumerate(values)})

    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_with_normal_values_it_is_close_to_the_t_interval() -> None:
    values = stats.norm.ppf((np.arange(40) + 0.5) / 40)
    expected = stats.t.interval(0.95, 39, 0, stats.sem(values))
    found = mean({f"case{number}": [value] for number, value in enumerate(values)})

    assert (found.low, found.high) == pytest.approx(expected, rel=0.05)


def test_the_mean_is_over_scans_and_then_over_columns() -> None:
    values = {"a": [[1.0, 10.0], [2.0, math.nan]], "b": [[6.0, 30.0]]}

    assert mean(values).mean == (3 + 20) / 2
    assert mean(values, weights=(0.25, 0.75)).mean == 0.25 * 3 + 0.75 * 20
    assert mean({"a": [1.0, 2.0], "b": [6.0]}).mean == 3


@pytest.mark.parametrize("nothing", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_counts_for_nothing(nothing: float) -> None:
    values = cases(9)
    with_more = {name: np.vstack([rows, [nothing, nothing]]) for name, rows in values.items()}
    with_a_case_more = values | {"case99": np.full((2, 2), nothing)}

    assert mean(with_more) == mean(values)
    assert mean(with_a_case_more) == mean(values)
    assert mean(values).cases == 9


def test_nothing_to_measure_is_no_number_and_no_case() -> None:
    for values in ({}, {"case1": [math.nan]}, {"case1": []}):
        found = mean(values)
        assert math.isnan(found.mean)
        assert (found.cases, found.has_interval, found.to_text()) == (0, False, "-")


def test_a_column_that_few_cases_have_is_left_out_of_the_resamples_without_it() -> None:
    values = {f"case{number}": [[0.5, math.nan]] for number in range(9)} | {"case9": [[0.5, 0.5]]}
    found = mean(values)

    assert (found.mean, found.cases) == (0.5, 10)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))


def test_equal_values_leave_no_width() -> None:
    found = mean({f"case{number}": [0.7, 0.7, 0.7] for number in range(10)})

    assert (found.low, found.high) == pytest.approx((0.7, 0.7), abs=1e-12)


def test_there_is_no_interval_below_eight_cases_and_it_says_so() -> None:
    few, enough = mean(cases(LEAST_CASES - 1)), mean(cases(LEAST_CASES))

    assert not few.has_interval
    assert few.interval_basis == "no interval: 7 cases, 8 are needed"
    assert mean({"case1": [0.5]}).interval_basis == "no interval: 1 case, 8 are needed"
    assert enough.has_interval
    assert enough.interval_basis == "8 cases"


def test_it_does_not_depend_on_the_order_nor_on_what_was_asked_before() -> None:
    values = cases(12)
    first = mean(values)
    mean(cases(9))
    mean(cases(10))

    assert mean(dict(reversed(values.items()))) == first


@given(shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
def test_it_moves_and_grows_with_the_values(shift: float, scale: float) -> None:
    values = {f"case{number}": [0.1 * number, 0.3] for number in range(10)}
    moved = {name: [scale * value + shift for value in rows] for name, rows in values.items()}
    before, after = mean(values), mean(moved)

    for name in ("mean", "low", "high"):
        assert getattr(after, name) == pytest.approx(scale * getattr(before, name) + shift, abs=1e-9)


def test_a_difference_of_pairs_is_the_mean_of_their_differences() -> None:
    one, other = cases(10), cases(10)
    apart = {name: one[name] - other[name] for name in one}
    found, expected = difference(one, other), mean(apart)

    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))


def test_pairing_takes_out_what_cases_have_in_common() -> None:
    hard = {f"case{number}": np.full(3, float(number)) for number in range(10)}
    better = {name: values + 0.5 + 0.01 * RNG.normal(size=3) for name, values in hard.items()}
    paired = difference(better, hard)

    assert paired.low > 0
    assert mean(better).low < mean(hard).high  # though the intervals of each overlap


def test_a_difference_turns_its_sign_with_the_sides_and_is_nothing_between_equals() -> None:
    one, other = cases(10), cases(10)
    there, back = difference(one, other), difference(other, one)

    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert difference(one, one) == Estimate(0, 0, 0, 10)


def test_a_difference_counts_the_cases_that_both_measure() -> None:
    one, other = cases(10), cases(10)
    other["case3"] = np.full((3, 2), math.inf)

    assert difference(one, other).cases == 9
    with pytest.raises(ValueError, match="same cases"):
        difference(one, cases(9))


def test_sides_may_have_other_numbers_of_rows() -> None:
    one = {f"case{number}": [0.5, 0.7] for number in range(8)}
    other = {f"case{number}": [0.4] for number in range(8)}

    assert difference(one, other).mean == pytest.approx(0.2)


def test_its_text_has_the_digits_and_signs_that_were_asked_for() -> None:
    estimate = Estimate(0.84849, 0.81, 0.88, 12)

    assert estimate.to_text() == "0.848 [0.810, 0.880]"
    assert estimate.to_text(1, sign="+") == "+0.8 [+0.8, +0.9]"
    assert Estimate(0.84849, math.nan, math.nan, 3).to_text(2) == "0.85"
