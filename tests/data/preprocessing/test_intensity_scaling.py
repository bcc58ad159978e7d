import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from volseg.data.preprocessing.intensity_scaling import Percentiles, Window, scale_intensities
from volseg.errors import UserError


def of(intensity: Percentiles | Window, voxels: np.ndarray) -> np.ndarray:
    return scale_intensities(voxels, intensity.levels(voxels))


numbers = st.tuples(st.floats(0, 40), st.floats(60, 100))


@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"]),
    st.integers(0, 999),
    numbers,
    st.booleans(),
)
def test_percentiles_are_numpys_of_the_voxels_above_zero(dtype, seed, wanted, fortran) -> None:
    voxels = (np.random.default_rng(seed).normal(0, 60, (7, 5, 3))).clip(-120, 120).astype(dtype)
    if fortran:
        voxels = np.asfortranarray(voxels)[::-1]
    low, high = wanted

    found = Percentiles(low=low, high=high).levels(voxels)

    expected = np.percentile(voxels[voxels > 0].astype(np.float64), wanted)
    assert found == pytest.approx(expected.tolist(), rel=1e-5)


def test_of_voxels_that_are_all_below_zero_all_count() -> None:
    voxels = np.array([-5, -3, -1], np.int16).reshape(3, 1, 1)

    assert Percentiles(low=0, high=100).levels(voxels) == (-5, -1)


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
