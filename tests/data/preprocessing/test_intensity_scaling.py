import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from volseg.data.preprocessing.intensity_scaling import (
    Percentiles,
    Window,
    count_flattened,
    scale_intensities,
)
from volseg.errors import UserError


def of(intensity: Percentiles | Window, voxels: np.ndarray) -> np.ndarray:
    return scale_intensities(voxels, intensity.levels(voxels))


numbers = st.tuples(st.floats(0, 40), st.floats(60, 100))


DTYPES = ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"]


@given(st.sampled_from(DTYPES), st.integers(0, 999), numbers, st.booleans(), st.sampled_from([0.05, 0.5]))
def test_percentiles_of_values_from_zero_are_numpys_of_those_above_zero(
    dtype, seed, wanted, fortran, share
) -> None:
    rng = np.random.default_rng(seed)
    voxels = (rng.integers(1, 120, (7, 5, 3)) * (rng.random((7, 5, 3)) > share)).astype(dtype)
    voxels[0, 0, 0] = 0
    if fortran:
        voxels = np.asfortranarray(voxels)[::-1]

    found = Percentiles(low=wanted[0], high=wanted[1]).levels(voxels)

    expected = np.percentile(voxels[voxels > 0].astype(np.float64), wanted)
    assert found == pytest.approx(expected.tolist(), rel=1e-5)


@given(st.sampled_from(["int8", "int16", "int32", "float32"]), st.integers(0, 999), numbers)
def test_without_a_blank_all_voxels_count(dtype, seed, wanted) -> None:
    """As in a scan that was normalised to mean 0, whose darker half is below zero."""
    voxels = np.random.default_rng(seed).normal(0, 40, (9, 8, 7)).clip(-120, 120).astype(dtype)

    found = Percentiles(low=wanted[0], high=wanted[1]).levels(voxels)

    assert found == pytest.approx(np.percentile(voxels.astype(np.float64), wanted).tolist(), rel=1e-5)


@given(
    st.sampled_from(["int8", "int16", "int32", "float32"]),
    st.sampled_from([-100, 0, 50]),
    st.integers(0, 999),
    numbers,
)
def test_the_blank_does_not_count_whatever_its_value(dtype, blank, seed, wanted) -> None:
    """CT padded below air, MR normalised within the body, an offset of the scanner."""
    body = np.random.default_rng(seed).integers(60 if blank == 50 else -60, 120, 400).astype(dtype)
    voxels = np.full((10, 10, 8), blank, dtype)
    voxels[2:7, :, :] = body.reshape(5, 10, 8)

    found = Percentiles(low=wanted[0], high=wanted[1]).levels(voxels)

    expected = np.percentile(body[body != blank].astype(np.float64), wanted)
    assert found == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_blank_below_zero_does_not_count() -> None:
    voxels = np.array([-5, -3, -1], np.int16).reshape(3, 1, 1)

    assert Percentiles(low=0, high=100).levels(voxels) == (-3, -1)  # a third has -5: it is the blank


def test_an_organ_below_zero_is_not_flattened() -> None:
    voxels = np.random.default_rng(0).normal(0, 1, (20, 20, 10)).astype(np.float32)
    organ = voxels < -0.5

    scaled = of(Percentiles(), voxels)[organ]

    assert (scaled == 0).mean() < 0.03
    assert scaled.std() > 0.05


@pytest.mark.parametrize(
    ("values", "flattened"),
    [([-9, -9, 0, 3, 7], 0),  # the image's lowest value is one already
     ([-5, 0, 3, 7, 20, 5], 2),  # -5 and 20
     ([0, 3, 7, 10.4, 10.4], 0),  # hardly beyond
     ([0, 10.4, 10.4, 10.3, 10.4], 4)],  # hardly beyond, but most of the class
)  # fmt: skip
def test_flattened_are_values_beyond_the_levels(values, flattened) -> None:
    assert count_flattened(np.array(values), (-1, 10), -9) == flattened


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_refused(wrong: float) -> None:
    with pytest.raises(UserError, match="NaN or infinite voxels"):
        of(Window(low=0, high=1), np.array([0.5, wrong]))


def test_percentiles_look_at_the_body_only() -> None:
    body = np.linspace(100, 1100, 1001)
    wide = np.concatenate([np.zeros(10_000), body]).reshape(-1, 1, 1)
    narrow = np.concatenate([np.zeros(10), body]).reshape(-1, 1, 1)

    found = of(Percentiles(low=0, high=50), wide)[-1001:]

    assert np.array_equal(found, of(Percentiles(low=0, high=50), narrow)[-1001:])
    assert found[250, 0, 0] == pytest.approx(0.5, abs=1e-3)
    assert found.max() == 1


def test_percentiles_do_not_depend_on_the_unit() -> None:
    voxels = np.random.default_rng(0).integers(0, 900, (6, 6, 6))

    one, many = (of(Percentiles(), voxels * factor) for factor in (1e-9, 17))

    assert np.allclose(one, many, atol=1e-5)


def test_an_empty_scan_scales_to_zeros() -> None:
    assert not of(Percentiles(), np.zeros((3, 3, 3), np.uint16)).any()


def test_a_window_is_absolute_and_clips() -> None:
    found = of(Window(low=-100, high=300), np.array([-1000.0, -100, 100, 300, 2000]))

    assert found.tolist() == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize("bounds", [(50, 50), (60, 40)])
def test_low_must_be_below_high(bounds) -> None:
    with pytest.raises(ValidationError, match="low must be below high"):
        Percentiles(low=bounds[0], high=bounds[1])
    with pytest.raises(ValidationError, match="low must be below high"):
        Window(low=bounds[0], high=bounds[1])
