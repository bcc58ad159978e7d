import numpy as np
import pytest
from scipy import ndimage

from volseg.training.augmentation.intensity import (
    Blur,
    Brightness,
    Contrast,
    Gamma,
    IntensityTransform,
    LowResolution,
    Noise,
)

KINDS = [Gamma, Blur, LowResolution, Contrast, Brightness, Noise]


def image() -> np.ndarray:
    return np.random.default_rng(0).random((2, 12, 10, 8), dtype=np.float32)


def varied(step: IntensityTransform, seed: int = 0) -> np.ndarray:
    step.set_random_state(seed)
    return step({"image": image()})["image"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_depends_on_the_seed_alone(kind) -> None:
    one, again, other = (varied(kind(0.5, 1.0), seed) for seed in (1, 1, 2))

    assert one.dtype == np.float32
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.isfinite(one).all()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_done_as_often_as_asked(kind) -> None:
    step = kind(0.5, 0.3)
    step.set_random_state(0)
    done = [not np.array_equal(step({"image": image()})["image"], image()) for _ in range(300)]

    assert np.mean(done) == pytest.approx(0.3, abs=0.08)


def test_gamma_keeps_black_and_white_and_the_order_between() -> None:
    powers = []
    for seed in range(50):
        found = varied(Gamma(0.5, 1.0), seed)
        powers.append(float(np.median(np.log(found) / np.log(image()))))
        assert np.array_equal(found.ravel().argsort(), image().ravel().argsort())

    assert np.exp(-0.5) <= min(powers) < 0.75
    assert 1.33 < max(powers) <= np.exp(0.5)


def test_contrast_multiplies_and_brightness_adds() -> None:
    factors = [varied(Contrast(0.2, 1.0), seed) / image() for seed in range(50)]
    offsets = [varied(Brightness(0.2, 1.0), seed) - image() for seed in range(50)]

    for found, middle in ((factors, 1), (offsets, 0)):
        assert all(np.ptp(one) < 1e-4 for one in found)
        means = [float(one.mean()) - middle for one in found]
        assert -0.2 <= min(means) < -0.15
        assert 0.15 < max(means) <= 0.2


def test_noise_is_gaussian_of_up_to_its_deviation() -> None:
    noises = np.stack([varied(Noise(0.2, 1.0), seed) - image() for seed in range(50)])
    deviations = noises.std(axis=(1, 2, 3, 4))

    assert deviations.max() <= 0.21
    assert deviations.min() < 0.05
    assert deviations.max() > 0.15
    assert abs(noises.mean()) < 0.01
    pooled = noises / deviations.reshape(-1, 1, 1, 1, 1)
    assert (np.abs(pooled) < 1).mean() == pytest.approx(0.683, abs=0.01)


def test_blur_is_scipys_of_each_channel_by_itself() -> None:
    step = Blur(2.0, 1.0)
    found = varied(step, 5)
    step.set_random_state(5)
    step.R.random_sample()
    sigma = step.R.uniform(0, 2.0)

    for one, channel in zip(found, image(), strict=True):
        assert np.allclose(one, ndimage.gaussian_filter(channel, sigma, mode="nearest", truncate=3))


def test_low_resolution_keeps_a_slow_ramp_and_takes_fine_detail_away() -> None:
    ramp = np.linspace(0, 1, 24, dtype=np.float32)[:, None, None] * np.ones((1, 1, 8, 8), np.float32)
    stripes = ((np.arange(24) % 2)[:, None, None] * np.ones((1, 1, 8, 8))).astype(np.float32)
    step, kept, lost = LowResolution(2.0, 1.0), [], []
    for seed in range(20):
        for given, told in ((ramp, kept), (stripes, lost)):
            step.set_random_state(seed)
            found = step({"image": given.copy()})["image"]
            told.append(float(np.abs(found - given)[:, 4:-4].max()))

    assert max(kept) < 0.08
    assert max(lost) > 0.4
