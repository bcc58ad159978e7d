import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import affines, shapes
from volseg.data.preprocessing.grid import InverseResampling, NetworkGrid, NetworkInput, stack_channels
from volseg.data.preprocessing.intensity_scaling import Window
from volseg.data.volume import Volume, stack_affine
from volseg.errors import UserError


def there(grid: NetworkGrid, voxels: np.ndarray, high: float = 1) -> np.ndarray:
    """Native voxels, which lie between 0 and `high`, on the network's grid."""
    view = NetworkInput(grid, (grid.orient(voxels),), ((0, high),))
    return view.read_box(view.full_box)[0] * high


def back(grid: NetworkGrid, values: np.ndarray) -> np.ndarray:
    """Values of the network's grid on the native one, its axes turned."""
    way = InverseResampling(grid, tuple(slice(0, n) for n in grid.shape))
    return way.to_native(values, 0, slice(0, way.finished_planes(values.shape[2])))


@given(shapes, affines(), st.integers(0, 99))
def test_without_resampling_the_way_back_is_exact(shape, affine, seed) -> None:
    values = np.random.default_rng(seed).random(shape, dtype=np.float32)
    grid = NetworkGrid.from_volume(Volume(values, affine), None)

    assert np.array_equal(back(grid, there(grid, values)), grid.orient(values))


@given(shapes, affines())
def test_the_oriented_axes_run_left_posterior_inferior(shape, affine) -> None:
    place = np.indices(shape).reshape(3, -1)
    world = affine[:3, :3] @ place
    grid = NetworkGrid.from_volume(Volume(np.zeros(shape), affine), None)

    for axis in range(3):
        along = np.argmax(np.abs(affine[:3, :3]), axis=0).tolist().index(axis)
        turned = grid.orient(world[axis].reshape(shape))
        if shape[along] > 1:
            assert (np.diff(turned, axis=axis) < 0).all()


@given(shapes, affines())
def test_slices_lie_across_the_axis_that_runs_most_from_head_to_feet(shape, affine) -> None:
    volume = Volume(np.zeros(shape, np.uint8), affine)

    axis = NetworkGrid.from_volume(volume, None).slice_axis

    cosines = np.abs(affine[2, :3]) / np.linalg.norm(affine[:3, :3], axis=0)
    assert cosines[axis] == cosines.max()


def test_the_raw_layout_is_left_as_it_is() -> None:
    values = np.random.default_rng(0).random((5, 4, 3))

    grid = NetworkGrid.from_volume(Volume(values, stack_affine((1.5, 1.5), 3.0)), None)

    assert np.array_equal(grid.orient(values), values)


@given(shapes, affines(), st.tuples(*[st.floats(0.7, 3.0)] * 3))
def test_a_linear_field_survives_resampling_there_and_back_inside(shape, affine, spacing) -> None:
    volume = Volume(np.full(shape, 0.25, np.float32), affine)
    grid = NetworkGrid.from_volume(volume, spacing)

    seen = there(grid, volume.voxels)

    assert seen.shape == grid.shape
    found = back(grid, seen)
    assert found.shape == grid.oriented_shape
    assert np.allclose(found, 0.25, atol=1e-6)


def test_a_ramp_comes_back_in_its_place() -> None:
    """Voxel borders are aligned both ways; only the outermost voxels are clamped."""
    ramp = np.arange(16, dtype=np.float32)[:, None, None].repeat(4, axis=1).repeat(4, axis=2)
    grid = NetworkGrid.from_volume(Volume(ramp, stack_affine((1.0, 1.0), 1.0)), (2.0, 1.0, 1.0))

    found = back(grid, there(grid, ramp, high=16))

    assert np.allclose(found[:, 1, 1], [0.5, *range(1, 15), 14.5], atol=1e-5)


def test_channels_on_other_grids_are_refused() -> None:
    one = Volume(np.ones((4, 4, 4)), np.eye(4))
    other = Volume(np.ones((4, 4, 4)), np.diag([2.0, 1, 1, 1]))

    assert stack_channels([one, one], None, Window(low=0, high=1))[1].shape == (2, 4, 4, 4)
    with pytest.raises(UserError, match=r"channel 2 has the shape .* resample them to one grid"):
        stack_channels([one, other], None, Window(low=0, high=1))


def test_resampling_keeps_places_in_millimetres() -> None:
    ramp = np.repeat(np.arange(16, dtype=np.float32)[:, None, None], 4, axis=1).repeat(4, axis=2)
    grid = NetworkGrid.from_volume(Volume(ramp, stack_affine((1.0, 1.0), 1.0)), (2.0, 1.0, 1.0))

    coarse = there(grid, ramp, high=16)

    # Voxel i of 2 mm covers voxels 2i and 2i+1 of 1 mm; its centre lies half way between them.
    assert coarse.shape == (8, 4, 4)
    assert np.allclose(coarse[:, 0, 0], 2 * np.arange(8) + 0.5, atol=1e-5)


def test_masks_stay_binary_when_resampled() -> None:
    mask = np.random.default_rng(0).random((8, 8, 8)) > 0.5
    grid = NetworkGrid.from_volume(Volume(mask, stack_affine((1.5, 1.5), 3.0)), (1.63, 1.4, 2.5))

    assert set(np.unique(grid.resample_mask(mask))) <= {0, 1}


def test_a_part_is_what_it_is_of_the_whole() -> None:
    """Whatever the spacing: so that windows see what the whole scan would show them."""
    rng = np.random.default_rng(0)
    volume = Volume(rng.integers(0, 900, (17, 12, 9)).astype(np.uint16), np.diag([1.5, -1.5, 3, 1]))
    for spacing in (None, (1.5, 1.5, 3.0), (1.1, 2.3, 2.0)):
        view = NetworkInput.from_channels([volume, volume], spacing, Window(low=0, high=900))
        whole = view.read_box(view.full_box)
        box = tuple(slice(n // 4, n // 4 + n // 2) for n in view.grid.shape)

        assert whole.shape == (2, *view.grid.shape)
        assert np.allclose(view.read_box(box), whole[:, *box], atol=1e-6)


@given(shapes, affines(), st.tuples(*[st.floats(0.7, 3.0)] * 3), st.data())
def test_a_native_box_lies_within_its_box_on_the_networks_grid(shape, affine, spacing, data) -> None:
    grid = NetworkGrid.from_volume(Volume(np.zeros(shape), affine), spacing)
    oriented = grid.oriented_shape
    begins = [data.draw(st.integers(0, n - 1)) for n in oriented]
    box = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(begins, oriented, strict=True))

    found = grid.covering_box(box)

    for native, own, old, new in zip(box, found, oriented, grid.shape, strict=True):
        assert own.start / new <= native.start / old + 1e-9
        assert own.stop / new >= native.stop / old - 1e-9
        assert own.stop <= new
