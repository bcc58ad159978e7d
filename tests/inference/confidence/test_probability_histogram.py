import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.inference.confidence.probability_histogram import (
    LEVELS,
    REACH,
    SHOWN,
    ProbabilityHistogram,
    expected_dice,
    total_entropy,
    worst_slices,
)

PLAIN = np.arange(LEVELS) / (LEVELS - 1)


def ball(shape=(24, 22, 14), width: float = 2.0) -> np.ndarray:
    """A probability that falls from 1 to 0 across the border of a ball."""
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(float)
    centre = np.reshape(np.array(shape) / 2, (3, 1, 1, 1))
    away = np.sqrt(((places - centre) ** 2).sum(axis=0)) - 5
    return 1 / (1 + np.exp(away / width))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


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


@pytest.mark.parametrize("width", [0.3, 1.0, 2.0])
def test_truths_drawn_from_the_probabilities_have_the_expected_dice(width: float) -> None:
    rng, probability = np.random.default_rng(0), ball(width=width)
    mask = probability >= 0.5
    levels = np.rint(probability * 255).astype(np.uint8)

    expected = expected_dice(ProbabilityHistogram.from_probability(levels, mask).total_counts, PLAIN)

    true = [dice(mask, rng.random(mask.shape) < levels / 255) for _ in range(200)]
    assert expected == pytest.approx(np.mean(true), abs=0.003)


@given(st.floats(0.2, 2.0))
def test_8_bits_expect_nearly_what_floats_do(width: float) -> None:
    """Rounding moves a voxel's probability by 1/510 at most, and most roundings cancel."""
    probability = ball(width=width)
    mask = probability >= 0.5
    levels = np.rint(probability * 255).astype(np.uint8)

    found = expected_dice(ProbabilityHistogram.from_probability(levels, mask).total_counts, PLAIN)

    expected = 2 * probability[mask].sum() / (mask.sum() + probability.sum())
    assert found == pytest.approx(expected, abs=0.01)


def test_what_is_missed_makes_the_organ_larger() -> None:
    counts = np.zeros((2, LEVELS), np.int64)
    counts[1, 255] = 80  # a mask of 80 sure voxels, and 20 elsewhere that nothing speaks for

    assert expected_dice(counts, PLAIN) == 1
    assert expected_dice(counts, PLAIN, missed=0.2) == pytest.approx(2 * 80 / (80 + 100))


def test_an_empty_mask_has_no_expected_dice() -> None:
    assert np.isnan(expected_dice(np.zeros((2, LEVELS), np.int64), PLAIN))


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
