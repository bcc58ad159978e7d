import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from volseg.inference.tiling import AxisTiling

overlaps = st.sampled_from([0.0, 0.25, 0.5, 0.7, 0.9])


@given(st.integers(1, 90), st.integers(1, 30), overlaps, st.data())
def test_windows_lie_in_the_axis_cover_what_is_asked_and_overlap(n, window, overlap, data) -> None:
    begin, end = sorted((data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, n))))
    inside = slice(begin, max(end, begin + 1))
    side = AxisTiling.for_range(inside, n, window, overlap)

    assert side.starts[0] <= inside.start
    assert side.starts[-1] + window >= inside.stop
    if n >= window:
        assert side.starts[0] >= 0
        assert side.starts[-1] + window <= n
    steps = np.diff(side.starts)
    assert (steps <= max(1, int(window * (1 - overlap))) + 0).all()
    assert not len(steps) or steps.max() - steps.min() <= 1  # evenly


@given(st.integers(1, 90), st.integers(1, 30), overlaps)
def test_at_each_voxel_the_weights_add_up_to_one(n, window, overlap) -> None:
    side = AxisTiling.for_range(slice(0, n), n, window, overlap)
    total = np.zeros(side.full_range.stop - side.full_range.start)
    for number, weights in enumerate(side.weights):
        total[side.window_slice(number)] += weights

    assert np.allclose(total, 1, atol=1e-6)


def test_windows_worked_out_by_hand() -> None:
    """Of 96 with an overlap of one half over 266 voxels: steps of at most 48, so five, 42.5 apart."""
    assert AxisTiling.for_range(slice(0, 266), 266, 96, 0.5).starts == (0, 42, 85, 128, 170)
    assert AxisTiling.for_range(slice(30, 200), 266, 96, 0.5).starts == (30, 67, 104)
    assert AxisTiling.for_range(slice(100, 110), 266, 96, 0.5).starts == (57,)  # about its middle
    assert AxisTiling.for_range(slice(0, 10), 266, 96, 0.5).starts == (0,)  # within the axis
    assert AxisTiling.for_range(slice(0, 20), 20, 96, 0.5).starts == (-38,)


@given(st.integers(1, 90), st.integers(0, 4), st.integers(1, 20), st.data())
def test_each_slice_weighs_one_in_a_window_that_has_all_its_neighbours(n, reach, deeper, data) -> None:
    window = 2 * reach + deeper
    begin, end = sorted((data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, n))))
    inside = range(begin, max(end, begin + 1))

    side = AxisTiling.for_slices(slice(inside.start, inside.stop), n, window, reach)

    shown_by = {z: [] for z in inside}
    for start, weights in zip(side.starts, side.weights, strict=True):
        for place in np.flatnonzero(weights):
            z, needed = (
                start + int(place),
                range(max(0, start + place - reach), min(n, start + place + reach + 1)),
            )
            assert all(start <= one < start + window for one in needed if 0 <= z < n)
            if z in shown_by:
                shown_by[z].append(float(weights[place]))
    assert all(weights == [1] for weights in shown_by.values())
    if n >= window:
        assert side.starts[0] >= 0
        assert side.starts[-1] + window <= n


def test_windows_of_slices_worked_out_by_hand() -> None:
    """Of 16 with a reach of 2 over 40 slices: 14 count in the first and last, 12 between, so three."""
    side = AxisTiling.for_slices(slice(0, 40), 40, 16, 2)
    assert side.starts == (0, 12, 24)
    assert [int(row.sum()) for row in side.weights] == [14, 12, 14]
    assert AxisTiling.for_slices(slice(0, 40), 40, 40, 2).starts == (0,)
    assert AxisTiling.for_slices(slice(10, 22), 40, 16, 2).starts == (8,)
    assert AxisTiling.for_slices(slice(0, 3), 3, 16, 2).starts == (-6,)
