import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.evaluation.bootstrap import FiniteSums
from volseg.tuning.nested_cross_validation import split_into_folds
from volseg.tuning.weight_search import (
    MOST_TRIED,
    Shares,
    choose_shares,
    equal_shares,
    finer_shares,
    share_grid,
    shares_to_refine,
)

CASES = 20


def column(values: np.ndarray) -> FiniteSums:
    return FiniteSums(values[:, None], np.ones((len(values), 1)))


def scored(best: Shares, seed: int = 0, spread: float = 0.001) -> dict[Shares, FiniteSums]:
    """Scores that fall with the distance from the best weights, of cases that differ in how hard they are."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(0.7, 0.1, CASES)

    def score(shares: Shares) -> FiniteSums:
        away = sum((one - other) ** 2 for one, other in zip(shares, best, strict=True))
        return column(hardness - away + rng.normal(0, spread, CASES))

    table = {shares: score(shares) for shares in share_grid(len(best))}
    return table | {shares: score(shares) for shares in shares_to_refine(table, CASES, None)}


@given(st.integers(2, 6))
def test_the_grid_has_equal_weights_first_each_run_alone_and_only_weights_that_add_up(runs: int) -> None:
    grid = share_grid(runs)

    assert grid[0] == equal_shares(runs)
    assert {tuple(float(place == own) for place in range(runs)) for own in range(runs)} <= {*grid}
    assert all(math.fsum(shares) == pytest.approx(1) and min(shares) >= 0 for shares in grid)
    assert len(grid) == len({*grid}) <= MOST_TRIED + 1


def test_two_runs_are_tried_in_tenths_and_around_the_best_in_twentieths() -> None:
    assert sorted(share_grid(2)) == [(n / 10, (10 - n) / 10) for n in range(11)]
    assert finer_shares((0.7, 0.3)) == [(0.65, 0.35), (0.75, 0.25)]
    assert finer_shares((1.0, 0.0)) == [(0.95, 0.05)]


@given(st.sampled_from([(0.7, 0.3), (0.2, 0.8), (0.85, 0.15), (1.0, 0.0), (0.6, 0.3, 0.1)]))
def test_the_best_weights_are_found_and_the_gain_is_of_cases_that_had_no_part(best: Shares) -> None:
    choice = choose_shares(scored(best), CASES, None)

    assert choice.shares == pytest.approx(best)
    away = sum((one - 1 / len(best)) ** 2 for one in best)
    assert choice.gain.mean == pytest.approx(away, abs=0.005)


def test_what_is_told_of_a_case_does_not_depend_on_its_own_scores() -> None:
    """A fold's cases for which one of the weights is far too good do not choose it for themselves."""
    table = scored((0.7, 0.3))
    fold = split_into_folds(CASES)[0]
    for values, _ in (table[0.1, 0.9],):
        values[fold] += 10

    choice = choose_shares(table, CASES, None)

    own = table[0.7, 0.3].sums[fold]
    assert choice.after.sums[fold] == pytest.approx(own, abs=0.05)


def test_equal_weights_stay_where_nothing_is_shown_to_be_better() -> None:
    changed = sum(
        choose_shares(scored((0.5, 0.5), seed, spread=0.05), CASES, None).shares != (0.5, 0.5)
        for seed in range(20)
    )

    assert changed <= 2


def test_of_few_cases_nothing_is_shown() -> None:
    table = {shares: FiniteSums(*(side[:4] for side in of)) for shares, of in scored((0.9, 0.1)).items()}

    assert choose_shares(table, 4, None).shares == (0.5, 0.5)


def test_runs_in_another_order_get_the_same_weights() -> None:
    table = scored((0.8, 0.2))
    turned = {shares[::-1]: of for shares, of in table.items()}

    assert choose_shares(turned, CASES, None).shares == choose_shares(table, CASES, None).shares[::-1]
