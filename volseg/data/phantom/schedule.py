"""The scans of a phantom dataset: case, day, part and grid of each."""

from typing import NamedTuple

import numpy as np

from volseg.data.layouts.raw_dataset import Part
from volseg.data.phantom.grids import FULL, SMALL, ScanGrid

CASE, DAY = 123, 20  # always among them, as the documentation speaks of case123_day20
CHANGING = 1  # the rank of the case that changes its matrix size after its first day
LAST_CASE, LAST_DAY = 156, 38  # the real set's highest numbers are about these

# The grids of the first case, the second and so on, round and round. Full size: two thirds square,
# a quarter wide, a few shallow, as in the real set.
_SMALL_MIX = tuple(SMALL[kind] for kind in (0, 1, 0))
_FULL_MIX = tuple(FULL[kind] for kind in (0, 1, 0, 0, 1, 0, 0, 2, 0, 0, 1, 0))

# The real training set (DOMAIN.md): 85 cases and 274 scans, 180 of them 266x266x144, 78 360x310x144,
# 15 276x276x80 and one 234x234x144; 15 cases change their matrix size between days.
_KAGGLE_GROUPS = ((55, 181), (24, 78), (6, 15))  # cases and scans of the first three grids
_SWAPS = 7  # pairs of cases that swap one day's grid; with the lone 234x234 scan 15 cases change
_MOST_DAYS = 6
_LISTED = {7: (0,), 43: (18, 26), 81: (30,), 124: (19,), 138: (0,), 144: (15,), CASE: (DAY,)}
"""Fixed days: the training scans on the author's list of bad labels, and case123_day20."""


class ScheduledScan(NamedTuple):
    """One scan to make."""

    case: int
    day: int
    part: Part
    grid: ScanGrid


def regular_schedule(
    cases: int, days: int, *, full_size: bool, rng: np.random.Generator
) -> list[ScheduledScan]:
    """Drawn cases and days; the last number drawn is the test case's, with one day."""
    mix = _FULL_MIX if full_size else _SMALL_MIX
    others = [number for number in range(1, LAST_CASE + 1) if number != CASE]
    *train, test = rng.choice(others, cases, replace=False).tolist()
    orders = [ScheduledScan(test, int(rng.integers(LAST_DAY)), "test", mix[0])]
    for rank, case in enumerate(sorted([CASE, *train])):
        numbers = sorted(rng.choice(LAST_DAY + 1, days, replace=False).tolist())
        if case == CASE and DAY not in numbers:
            numbers[int(np.abs(np.array(numbers) - DAY).argmin())] = DAY
        grids = [mix[rank % len(mix)]] * days
        if rank == CHANGING:
            grids[0] = mix[0]
        orders += [ScheduledScan(case, day, "train", grid) for day, grid in zip(numbers, grids, strict=True)]
    return orders


def kaggle_schedule(rng: np.random.Generator) -> list[ScheduledScan]:
    """The scans of a dataset as large and as mixed as the competition's training set."""
    grids = _grids_by_case(rng)
    others = [number for number in range(1, LAST_CASE + 1) if number not in _LISTED]
    numbers = [*_LISTED, *rng.choice(others, len(grids) - len(_LISTED), replace=False).tolist()]
    long_first = sorted(rng.permutation(len(grids)), key=lambda one: -len(grids[one]))
    orders = []
    for case, chosen in zip(numbers, long_first, strict=True):  # listed cases need several days
        days = _draw_days(_LISTED.get(case, ()), len(grids[chosen]), rng)
        orders += [
            ScheduledScan(case, day, "train", grid) for day, grid in zip(days, grids[chosen], strict=True)
        ]
    return sorted(orders, key=lambda order: order[:2])


def _grids_by_case(rng: np.random.Generator) -> list[list[ScanGrid]]:
    """For each case the grid of each of its days."""
    square, wide, shallow = (
        [[grid] * days for days in _scans_per_case(cases, scans, rng)]
        for grid, (cases, scans) in zip(FULL[:3], _KAGGLE_GROUPS, strict=True)
    )
    several = [[case for case in group if len(case) > 1] for group in (square, wide)]
    for one, other in zip(several[0][:_SWAPS], several[1][:_SWAPS], strict=True):
        one[0], other[0] = other[0], one[0]
    several[0][_SWAPS][0] = FULL[3]
    return [*square, *wide, *shallow]


def _scans_per_case(cases: int, scans: int, rng: np.random.Generator) -> list[int]:
    """Deal scans to cases: from one to six each."""
    shares = np.ones(cases, dtype=int)
    for _ in range(scans - cases):
        shares[rng.choice(np.flatnonzero(shares < _MOST_DAYS))] += 1
    return [int(share) for share in shares]


def _draw_days(listed: tuple[int, ...], count: int, rng: np.random.Generator) -> list[int]:
    others = [day for day in range(LAST_DAY + 1) if day not in listed]
    drawn = rng.choice(others, count - len(listed), replace=False).tolist()
    return sorted([*listed, *drawn])
