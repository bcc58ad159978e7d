from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from volseg.arrays import IGNORE
from volseg.training.augmentation.drawn_patch import DrawnPatch
from volseg.training.augmentation.grey_values import (
    BLOB_BORDER,
    NORMALS,
    AddNoise,
    Blob,
    GreyChange,
    Smooth,
    multiply_classes,
    normal_numbers,
)
from volseg.training.augmentation.intensity import (
    Blobs,
    Blur,
    Brightness,
    ClassContrast,
    Contrast,
    Gamma,
    IntensityTransform,
    LowResolution,
    Noise,
)
from volseg.training.augmentation.patch_frame import PatchFrame
from volseg.training.loading.packed_scan import PackedScan

NOWHERE = PackedScan(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1, 1), np.uint8), (), (1.0, 1.0, 1.0), False)
KINDS = [Gamma, Blur, LowResolution, Contrast, Brightness, Noise]


def image() -> np.ndarray:
    return np.random.default_rng(0).random((2, 12, 10, 8), dtype=np.float32)


def drawn(step: IntensityTransform, size: Sequence[int] = (12, 10, 8)) -> tuple[GreyChange, ...]:
    return step(DrawnPatch(NOWHERE, PatchFrame((0, 0, 0), tuple(size)))).changes


def varied(step: IntensityTransform, seed: int = 0, given: np.ndarray | None = None) -> np.ndarray:
    step.set_random_state(seed)
    found = torch.from_numpy(image() if given is None else given.copy())
    for change in drawn(step, found.shape[1:]):
        change(found)
    return found.numpy()


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
    done = [len(drawn(step)) for _ in range(300)]

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
        smooth = ndimage.gaussian_filter(channel, sigma, mode="nearest", truncate=3)
        assert np.allclose(one, smooth, atol=1e-6)


@given(st.floats(0, 10), st.tuples(*[st.integers(1, 8)] * 3))
def test_smoothing_is_scipys_at_every_width_and_size(sigma, size) -> None:
    given = np.random.default_rng(0).random((2, *size), dtype=np.float32)
    found = torch.from_numpy(given.copy())

    Smooth(sigma)(found)

    for one, channel in zip(found.numpy(), given, strict=True):
        smooth = ndimage.gaussian_filter(channel, sigma, mode="nearest", truncate=3)
        assert np.allclose(one, smooth, atol=1e-5)


@pytest.mark.parametrize("place", [0, 5, NORMALS - 7, NORMALS, 2**31 - 1])
def test_noise_is_read_from_one_row_of_normal_numbers_that_begins_again_at_its_end(place) -> None:
    row = normal_numbers(torch.device("cpu")).numpy()
    found = torch.zeros(2, 3, 2, 2)

    AddNoise(0.5, place)(found)

    expected = row.take(np.arange(place, place + 24), mode="wrap")
    assert np.allclose(found.flatten(), 0.5 * expected, atol=1e-7)


def test_the_row_of_normal_numbers_is_normal_and_has_no_memory() -> None:
    row = normal_numbers(torch.device("cpu")).numpy().astype(np.float64)

    assert row.mean() == pytest.approx(0, abs=0.002)
    assert row.std() == pytest.approx(1, abs=0.002)
    assert (np.abs(row) < 2).mean() == pytest.approx(0.9545, abs=0.001)
    for lag in (1, 2, 80, 192 * 80):
        assert np.corrcoef(row[lag:], row[:-lag])[0, 1] == pytest.approx(0, abs=0.003)


def test_low_resolution_keeps_a_slow_ramp_and_takes_fine_detail_away() -> None:
    ramp = np.linspace(0, 1, 24, dtype=np.float32)[:, None, None] * np.ones((1, 1, 8, 8), np.float32)
    stripes = ((np.arange(24) % 2)[:, None, None] * np.ones((1, 1, 8, 8))).astype(np.float32)
    step, kept, lost = LowResolution(2.0, 1.0), [], []
    for seed in range(20):
        for made, told in ((ramp, kept), (stripes, lost)):
            found = varied(step, seed, made)
            told.append(float(np.abs(found - made)[:, 4:-4].max()))

    assert max(kept) < 0.08
    assert max(lost) > 0.4


@given(
    factors=st.lists(st.floats(0.25, 4.0, width=32), min_size=3, max_size=3), seed=st.integers(0, 2**32 - 1)
)
def test_voxels_are_multiplied_by_the_factors_of_the_classes_they_are_in(factors, seed) -> None:
    """Voxels of no class, and those that the loss ignores, stay as they are."""
    label = np.random.default_rng(seed).choice([0, 1, IGNORE], (3, 12, 10, 8)).astype(np.uint8)
    found = torch.from_numpy(image())

    multiply_classes(found, torch.from_numpy(label), factors)

    expected = image() * np.where(label == 1, np.array(factors)[:, None, None, None], 1).prod(axis=0)
    assert np.allclose(found.numpy(), expected, rtol=1e-5)


def test_factors_of_classes_are_drawn_apart_as_often_as_asked_and_alike_around_1() -> None:
    scan = PackedScan(NOWHERE.image, NOWHERE.bits, (np.zeros((0, 3)),) * 2, (1.0, 1.0, 1.0), False)
    step = ClassContrast(0.7, 0.3)
    step.set_random_state(0)

    factors = [step(DrawnPatch(scan, PatchFrame((0, 0, 0), (1, 1, 1)))).class_factors for _ in range(3000)]

    done = np.log([one for one in factors if one])
    assert len(done) / len(factors) == pytest.approx(0.3, abs=0.03)
    assert done.shape[1] == scan.class_count == 2
    assert np.abs(done).max() <= 0.7
    assert np.abs(done).max() == pytest.approx(0.7, abs=0.01)
    assert done.mean(axis=0) == pytest.approx(0, abs=0.05)
    assert abs(np.corrcoef(done.T)[0, 1]) < 0.1


@given(
    centre=st.tuples(*[st.floats(-3, 15)] * 3),
    radii=st.tuples(*[st.floats(1, 20)] * 3),
    value=st.floats(0, 1.1),
)
def test_a_blob_is_one_value_within_its_radii_and_nothing_beyond_its_border_or_in_a_class(
    centre, radii, value
) -> None:
    label = np.random.default_rng(0).choice([0, 1, IGNORE], (2, 12, 10, 8)).astype(np.uint8)
    found = torch.from_numpy(image())

    Blob(centre, radii, value).paint(found, torch.from_numpy(label))

    places = np.indices(label.shape[1:])
    distance = np.sqrt(sum(((at - c) / r) ** 2 for at, c, r in zip(places, centre, radii, strict=True)))
    free = ~(label == 1).any(axis=0)
    inner, outer = distance < 1 - BLOB_BORDER / 2 - 1e-5, distance > 1 + BLOB_BORDER / 2 + 1e-5
    between = np.sort([image()[0], np.full_like(image()[0], value)], axis=0)
    assert np.allclose(found[0].numpy()[inner & free], value, atol=1e-6)
    assert np.array_equal(found[0].numpy()[outer | ~free], image()[0][outer | ~free])
    assert (between[0] - 1e-6 <= found[0].numpy()).all()
    assert (found[0].numpy() <= between[1] + 1e-6).all()


def test_blobs_are_drawn_as_often_as_asked_one_to_three_with_radii_up_to_the_share() -> None:
    step = Blobs(0.3, 0.5)
    step.set_random_state(0)
    frame = PatchFrame((0, 0, 0), (100, 50, 20))

    drawn = [step(DrawnPatch(NOWHERE, frame)).blobs for _ in range(2000)]

    done = [blobs for blobs in drawn if blobs]
    radii = np.array([blob.radii for blobs in done for blob in blobs])
    assert len(done) / len(drawn) == pytest.approx(0.5, abs=0.04)
    assert {len(blobs) for blobs in done} == {1, 2, 3}
    assert radii.max(axis=0) == pytest.approx([30, 15, 6], rel=0.02)
    assert radii.min(axis=0) == pytest.approx([5, 2.5, 1], rel=0.05)
