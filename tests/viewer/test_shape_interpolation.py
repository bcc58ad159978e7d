"""Slices between drawn ones: what is drawn stays, and what comes between lies between."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.viewer.shape_interpolation import fill_between, interpolated_shapes

MM = (1.0, 1.0, 1.0)


def disc(radius_mm: float, *, centre=(20, 20), size=41, spacing=(1.0, 1.0)) -> np.ndarray:
    x, y = np.ogrid[:size, :size]
    return np.hypot((x - centre[0]) * spacing[0], (y - centre[1]) * spacing[1]) <= radius_mm


def stack(slices: dict[int, np.ndarray], depth: int, axis: int = 2) -> np.ndarray:
    empty = np.zeros_like(next(iter(slices.values())))
    return np.stack([slices.get(number, empty) for number in range(depth)], axis=axis)


@given(st.integers(0, 10**6), st.sampled_from([0, 1, 2]), st.integers(2, 5))
def test_between_two_shapes_lies_what_both_have_and_nothing_that_neither_has(seed, axis, gap) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 7, 6)) < 0.6
    one[3, 3] = other[3, 3] = True
    mask = stack({1: one, 1 + gap: other}, gap + 3, axis)

    filled = np.moveaxis(fill_between(mask, (1.0, 2.0, 3.0), axis=axis), axis, 0)

    assert np.array_equal(filled[1], one)
    assert np.array_equal(filled[1 + gap], other)
    assert not filled[[0, -1]].any()
    for between in filled[2 : 1 + gap]:
        assert (between[one & other]).all()
        assert not between[~one & ~other].any()


def test_a_disc_grows_evenly_from_a_small_one_to_a_large_one() -> None:
    filled = fill_between(stack({0: disc(4), 4: disc(12)}, 5), MM, axis=2)

    for number, radius in ((1, 6), (2, 8), (3, 10)):
        assert (filled[..., number] ^ disc(radius)).sum() <= 0.12 * disc(radius).sum()


def test_distances_are_those_of_the_patient_not_of_the_grid() -> None:
    """A round thing on pixels of 1 x 3 mm stays round in mm."""
    spacing = (1.0, 3.0)
    small, large = disc(6, spacing=spacing), disc(18, spacing=spacing)

    (between,) = interpolated_shapes(small, large, spacing, [0.5])

    wide, high = (np.ptp(np.nonzero(between)[axis]) * mm for axis, mm in enumerate(spacing))
    assert abs(wide - high) <= 2 * max(spacing)
    assert (between ^ disc(12, spacing=spacing)).sum() <= 0.2 * between.sum()


def test_equal_slices_are_filled_by_the_same() -> None:
    shape = disc(9, centre=(15, 22))
    filled = fill_between(stack({2: shape, 6: shape}, 9), MM, axis=2)

    assert all(np.array_equal(filled[..., number], shape) for number in range(2, 7))


def test_shapes_that_do_not_overlap_meet_on_the_way() -> None:
    filled = fill_between(stack({0: disc(4, centre=(8, 8)), 4: disc(4, centre=(28, 32))}, 5), MM, axis=2)

    for number, centre in ((1, (13, 14)), (2, (18, 20)), (3, (23, 26))):
        assert np.argwhere(filled[..., number]).mean(axis=0) == pytest.approx(centre, abs=0.6)
        assert (filled[..., number] ^ disc(4, centre=centre)).sum() <= 0.1 * disc(4).sum()


def test_the_way_back_is_the_way_there() -> None:
    mask = stack({0: disc(4, centre=(8, 8)), 3: disc(7, centre=(30, 28)), 7: disc(5)}, 8)

    assert np.array_equal(
        fill_between(mask[..., ::-1], MM, axis=2), fill_between(mask, MM, axis=2)[..., ::-1]
    )


def test_only_the_wanted_slices_are_filled() -> None:
    mask = stack({0: disc(5), 6: disc(5)}, 7)

    filled = fill_between(mask, MM, axis=2, first=2, last=3)

    assert np.flatnonzero(filled.any(axis=(0, 1))).tolist() == [0, 2, 3, 6]


@pytest.mark.parametrize("drawn", [{}, {3: disc(5)}, {3: disc(5), 4: disc(6)}])
def test_without_a_gap_nothing_changes(drawn) -> None:
    mask = stack({0: np.zeros((41, 41), bool), **drawn}, 8)

    assert np.array_equal(fill_between(mask, MM, axis=2), mask)
