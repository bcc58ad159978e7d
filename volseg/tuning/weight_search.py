"""The weights of an ensemble, searched on a grid and around its best, and judged on other cases.

All weights are scored on every scan once. The best take the place of equal ones only where their gain over
cases is more than its spread explains; what new cases can expect follows from cases that had no part in
choosing, as for the steps of post-processing (`nested_cross_validation`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from volseg.evaluation.bootstrap import Estimate, FiniteSums
from volseg.tuning.nested_cross_validation import (
    ERROR,
    Places,
    Weights,
    best_choice,
    choose_shown,
    estimate_gain,
    gather_sums,
    split_into_folds,
)

Shares = tuple[float, ...]
"""The weights of runs, which add up to 1."""
MOST_TRIED = 70
"""Weights on the grid; more runs have a coarser one."""
FINEST = 10
"""The grid's finest step is a tenth."""
Table = Mapping[Shares, FiniteSums]
"""By weights, a row a case."""


def equal_shares(runs: int) -> Shares:
    """The weights of runs that count alike."""
    return (1 / runs,) * runs


def share_grid(runs: int) -> list[Shares]:
    """Equal weights first, then all others whose weights are multiples of the step; each run alone too."""
    parts = parts_of_grid(runs)
    grid = (tuple(count / parts for count in counts) for counts in _compositions(parts, runs))
    return list(dict.fromkeys([equal_shares(runs), *grid]))


def parts_of_grid(runs: int) -> int:
    """How many steps of the grid make 1."""
    fits = (parts for parts in range(FINEST, 1, -1) if math.comb(parts + runs - 1, runs - 1) <= MOST_TRIED)
    return next(fits, 2)


def _compositions(total: int, places: int) -> Iterator[tuple[int, ...]]:
    """All ways to share out a number among places, in order."""
    if places == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, places - 1):
            yield (first, *rest)


def finer_shares(around: Shares) -> list[Shares]:
    """The weights from which half a step of the grid was moved from one run to another."""
    half = 1 / (2 * parts_of_grid(len(around)))
    moved = []
    for giver in range(len(around)):
        for taker in range(len(around)):
            changes = {giver: -half, taker: half}
            new = tuple(round(one + changes.get(place, 0.0), 9) for place, one in enumerate(around))
            if giver != taker and min(new) >= 0:
                moved.append(new)
    return moved


@dataclass(frozen=True)
class WeightChoice:
    """The weights chosen on all cases, and the gain of choosing so on cases that had no part in it."""

    shares: Shares
    before: FiniteSums
    after: FiniteSums
    weights: Weights

    @property
    def gain(self) -> Estimate:
        """What new cases can expect over equal weights."""
        return estimate_gain(self.after, self.before, self.weights)


def shares_to_refine(table: Table, cases: int, weights: Weights) -> list[Shares]:
    """The weights around the best of the grid, on all cases and on those outside each fold."""
    best = (best_choice(table, list(table), places, weights) for places in _choosing_places(cases))
    return [
        one for one in dict.fromkeys(new for old in best for new in finer_shares(old)) if one not in table
    ]


def choose_shares(table: Table, cases: int, weights: Weights) -> WeightChoice:
    """The choice among the grid and what refines it, on all cases, and outside each fold for its own cases.

    Which refinements a fold may choose does not depend on its own cases.
    """
    runs = len(next(iter(table)))
    grid = share_grid(runs)
    chosen = []
    for places in _choosing_places(cases):
        near = finer_shares(best_choice(table, grid, places, weights))
        choices = list(dict.fromkeys([*grid, *(one for one in near if one in table)]))
        chosen.append(choose_shown(table, choices, places, weights, error=ERROR / len(choices)))
    after = gather_sums(table, list(zip(split_into_folds(cases), chosen[:-1], strict=True)))
    return WeightChoice(chosen[-1], table[equal_shares(runs)], after, weights)


def _choosing_places(cases: int) -> Sequence[Places]:
    """The cases outside each fold, and at last all."""
    every = np.arange(cases)
    return [*(np.setdiff1d(every, fold) for fold in split_into_folds(cases)), every]
