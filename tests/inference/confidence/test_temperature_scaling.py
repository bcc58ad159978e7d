import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from volseg.inference.confidence.probability_histogram import LEVELS
from volseg.inference.confidence.temperature_scaling import (
    BINS,
    TemperatureScaling,
    expected_calibration_error,
    fit_calibration,
    reliability_bins,
)

LOGITS = np.log(np.arange(1, 255) / (255 - np.arange(1, 255)))


def distorted(temperature: float, seed: int = 0) -> np.ndarray:
    """Counts of a network whose logits are `temperature` times those that would be right."""
    rng = np.random.default_rng(seed)
    voxels = rng.integers(5_000, 20_000, LEVELS)
    inside = np.zeros(LEVELS, np.int64)
    inside[1:-1] = rng.binomial(voxels[1:-1], 1 / (1 + np.exp(-LOGITS / temperature)))
    inside[0], inside[-1] = voxels[0] // 1000, round(voxels[-1] * 0.9)
    return np.stack([voxels - inside, inside])


@pytest.mark.parametrize("temperature", [0.25, 0.7, 1.0, 1.8, 5.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    assert fit_calibration(distorted(temperature)).temperature == pytest.approx(temperature, rel=0.02)


@given(st.integers(0, 999))
def test_no_other_temperature_is_likelier(seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 50, (2, LEVELS))

    def loss(log_temperature: float) -> float:
        x = LOGITS / np.exp(log_temperature)
        return float(counts[1, 1:-1] @ np.logaddexp(0, -x) + counts[0, 1:-1] @ np.logaddexp(0, x))

    found = fit_calibration(counts).temperature

    best = minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded").fun
    assert loss(np.log(found)) <= best + 1e-3


def test_the_ends_are_measured() -> None:
    counts = distorted(1.0)
    found = fit_calibration(counts)

    assert found.certain == pytest.approx(0.9, abs=1e-4)
    assert found.missed == counts[1, 0] / counts[1].sum()


@pytest.mark.parametrize("side", [0, 1])
def test_voxels_of_one_kind_say_nothing_of_a_temperature(side: int) -> None:
    counts = np.zeros((2, LEVELS), np.int64)
    counts[side] = 7

    assert fit_calibration(counts).temperature == 1


def test_without_calibration_levels_are_taken_at_their_word() -> None:
    assert TemperatureScaling().level_probabilities == pytest.approx(np.arange(LEVELS) / 255)
    assert np.all(np.diff(TemperatureScaling(temperature=3).level_probabilities) > 0)


def test_the_calibration_error_of_single_voxels_by_the_textbook() -> None:
    """An independent reference: voxel by voxel, with numpy's own bins."""
    rng = np.random.default_rng(3)
    level, true = rng.integers(0, 256, 5000), rng.integers(0, 2, 5000)
    counts = np.zeros((2, LEVELS), np.int64)
    np.add.at(counts, (true, level), 1)
    table = TemperatureScaling(temperature=2).level_probabilities

    seen = level > 0
    p, true = table[level[seen]], true[seen]
    edges = np.digitize(p, np.linspace(0, 1, BINS + 1)[1:-1])
    expected = sum(
        (edges == b).mean() * abs(p[edges == b].mean() - true[edges == b].mean()) for b in np.unique(edges)
    )
    assert expected_calibration_error(reliability_bins(counts, table)) == pytest.approx(expected)


def test_scaling_by_the_right_temperature_leaves_hardly_an_error() -> None:
    counts = distorted(2.5)

    before = expected_calibration_error(reliability_bins(counts, TemperatureScaling().level_probabilities))
    after = expected_calibration_error(reliability_bins(counts, fit_calibration(counts).level_probabilities))
    assert after < 0.005
    assert before > 0.1


def test_nothing_has_no_calibration_error() -> None:
    assert np.isnan(expected_calibration_error(np.zeros((3, BINS))))
