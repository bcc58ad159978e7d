"""The grey values that are black and white at first."""

import numpy as np
import pytest

from volseg.viewer.grey_values import SOFT_TISSUE, grey_window, storable_grey

SHAPE = (60, 60, 12)


def ct(rng: np.random.Generator, air: float) -> np.ndarray:
    """A body of soft tissue and some bone, in air with noise."""
    voxels = np.full(SHAPE, air) + rng.normal(0, 15, SHAPE)
    voxels[15:45, 15:45] = rng.normal(40, 20, (30, 30, 12))
    voxels[20:24, 20:24] = rng.normal(900, 100, (4, 4, 12))
    return voxels


@pytest.mark.parametrize("kind", [np.int16, np.float32])
@pytest.mark.parametrize("air", [-1000, -2000])
def test_soft_tissue_of_ct_is_not_grey_in_grey(air, kind) -> None:
    assert grey_window(ct(np.random.default_rng(0), air).astype(kind)) == SOFT_TISSUE


def test_an_mr_image_has_the_levels_of_its_own_body() -> None:
    """Also one whose resampling swung below 0 here and there."""
    voxels = np.abs(ct(np.random.default_rng(0), 0)) * 10
    voxels[0, 0, :3] = -1500
    low, high = grey_window(voxels)

    assert 0 < low < 200
    assert 600 < high < 10_000


def test_values_that_are_no_numbers_do_not_count() -> None:
    voxels = np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 10, 10)
    whole = grey_window(voxels)
    voxels[::2, :, 5] = np.nan
    voxels[::2, :, 6] = np.inf

    assert grey_window(voxels) == pytest.approx(whole, abs=0.02)
    assert grey_window(np.full((4, 4, 4), np.nan)) == (0, 1)
    assert not storable_grey(np.full((4, 4, 4), np.nan)).any()
    assert storable_grey(voxels).max() == 1


def test_a_marker_on_a_blank_that_few_rows_show_is_seen() -> None:
    voxels = np.zeros((20, 20, 5), np.int16)
    voxels[1, 1, 2] = 9

    assert grey_window(voxels) == (0, 9)
