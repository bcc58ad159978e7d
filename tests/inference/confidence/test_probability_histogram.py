import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.inference.confidence.probability_histogram import (
    LEVELS,
    REACH,
    SHOWN,
    ProbabilityHistogram,
    total_entropy,
    worst_slices,
)

PLAIN = np.arange(LEVELS) / (LEVELS - 1)


@given(st.integers(0, 99))
def test_counts_are_those_of_each_slice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (5, 4, 3)).astype(np.uint8) * rng.integers(0, 2, 3).astype("u1")
    mask = rng.integers(0, 2, (5, 4, 3)).astype(bool)

    found = ProbabilityHistogram.from_probability(np.asfortranarray(levels), mask).by_slice

    for z in range(3):
        for side, within in enumerate((~mask[:, :, z], mask[:, :, z])):
            values, counts = np.unique(levels[:, :, z][within], return_counts=True)
            assert found[z, side].sum() == within.sum()
            assert np.array_equal(found[z, side][values], counts)


def test_a_slice_is_wrong_by_what_is_likely_outside_and_unlikely_inside() -> None:
    levels = np.zeros((4, 1, 2), np.uint8)
    levels[:, 0, 1] = 255, 204, 51, 51
    mask = levels > 60
    mask[2, 0, 1] = True

    found = ProbabilityHistogram.from_probability(levels, mask).expected_errors(PLAIN)

    assert found == pytest.approx([0, 0.2 + 0.8 + 0.2])


def test_entropy_is_one_bit_where_nothing_is_known() -> None:
    table = np.array([0.0, 0.5, *np.full(LEVELS - 3, 0.25), 1.0])
    counts = np.zeros((2, LEVELS), np.int64)
    counts[0, :3], counts[1, -1] = (100, 4, 2), 50

    assert total_entropy(counts, table) == pytest.approx(4 + 2 * 0.8112781)


def test_the_worst_slices_are_peaks_with_their_neighbours() -> None:
    wrong = np.zeros(40)
    wrong[9:14] = 5, 8, 10, 9, 1
    wrong[30] = 6
    wrong[20] = 4  # less than half of the highest

    assert worst_slices(wrong) == [(10, 12), (30, 30)]


@given(st.lists(st.floats(0, 9), max_size=60))
def test_places_to_look_at_are_few_short_and_apart(wrong: list[float]) -> None:
    found = worst_slices(np.array(wrong))

    slices = [z for first, last in found for z in range(first, last + 1)]
    assert len(found) <= SHOWN
    assert len(slices) == len(set(slices))
    assert all(last - first <= 2 * REACH for first, last in found)
    assert not found or found[0][0] <= int(np.argmax(wrong)) <= found[0][1]
