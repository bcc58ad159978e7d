import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from volseg.data.preprocessing.resampling import interpolation_matrix, resample_volume, source_range

sizes = st.tuples(*[st.integers(1, 9)] * 3)


@given(sizes, sizes, st.integers(0, 99))
def test_resampling_is_scipys_linear_zoom(old, new, seed: int) -> None:
    values = np.random.default_rng(seed).random(old).astype(np.float32)
    zoom = np.array(new) / old
    expected = ndimage.zoom(values, zoom, order=1, mode="nearest", grid_mode=True)

    assert np.allclose(resample_volume(values, new), expected, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 40))
def test_weights_add_up_to_one_and_lie_side_by_side(old: int, new: int) -> None:
    weights = interpolation_matrix(old, new)

    assert np.allclose(weights.sum(axis=1), 1)
    for row in weights:
        taken = np.flatnonzero(row)
        assert taken[-1] - taken[0] <= 1
        assert source_range(row[None]) == slice(taken[0], taken[-1] + 1)


def test_onto_the_same_grid_nothing_changes() -> None:
    values = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)

    assert resample_volume(values, (4, 5, 6)) is values
