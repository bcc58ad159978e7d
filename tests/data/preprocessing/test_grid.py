import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tests.strategies import affines, shapes
from volseg.data.preprocessing.grid import InverseResampling, NetworkGrid, NetworkInput, stack_channels
from volseg.data.preprocessing.intensity_scaling import Percentiles, Window
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


@given(shapes, affines(), st.tuples(*[st.floats(0.7, 3.0)] * 3))
def test_the_networks_grid_has_the_voxels_that_come_nearest_to_the_volumes_size(
    shape, affine, spacing
) -> None:
    grid = NetworkGrid.from_volume(Volume(np.zeros(shape), affine), spacing)

    sizes_mm = np.multiply(grid.oriented_shape, grid.oriented_mm)
    for own, mm, size_mm in zip(grid.shape, spacing, sizes_mm, strict=True):
        assert own == 1 or abs(own * mm - size_mm) <= mm / 2 + 1e-6


@given(shapes, affines())
def test_the_oriented_voxel_size_is_that_of_the_axes_as_they_are_turned(shape, affine) -> None:
    grid = NetworkGrid.from_volume(Volume(np.zeros(shape), affine), None)
    world = np.tensordot(affine[:3, :3], np.indices(shape), 1)

    x, y, z = (np.stack([grid.orient(place) for place in world])[:, *step] for step in np.eye(3, dtype=int))
    corner = np.stack([grid.orient(place)[0, 0, 0] for place in world])

    assert np.allclose(grid.oriented_mm, np.linalg.norm([x - corner, y - corner, z - corner], axis=1))


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


def centres(old: int, new: int) -> np.ndarray:
    """The place of each of `new` voxels among `old` ones that share their box."""
    return (np.arange(new) + 0.5) * old / new - 0.5


def inside(old: int, new: int) -> np.ndarray:
    """The native voxels whose way there and back leads past no end of the axis, where values are repeated."""
    there_at, back_at = centres(old, new), centres(new, old)
    kept = (there_at >= 0) & (there_at <= old - 1)
    around = (np.floor(back_at).astype(int), np.ceil(back_at).astype(int))
    within = (around[0] >= 0) & (around[1] < new)
    return within & kept[around[0].clip(0, new - 1)] & kept[around[1].clip(0, new - 1)]


@given(st.tuples(*[st.integers(6, 11)] * 3), affines(), st.tuples(*[st.floats(0.6, 1.6)] * 3))
def test_a_linear_field_survives_resampling_there_and_back_inside(shape, affine, ratios) -> None:
    x, y, z = np.indices(shape) / 12
    field = ((5 * x + 3 * y + 1 - z) / 10).astype(np.float32)
    native = Volume(field, affine)
    spacing = tuple(np.multiply(ratios, NetworkGrid.from_volume(native, None).oriented_mm))
    grid = NetworkGrid.from_volume(native, spacing)

    seen = there(grid, field)
    found = back(grid, seen)

    assert (seen.shape, found.shape) == (grid.shape, grid.oriented_shape)
    part = np.ix_(*map(inside, grid.oriented_shape, grid.shape))
    assert found[part].size
    assert np.allclose(found[part], grid.orient(field)[part], atol=1e-5)


def test_a_ramp_comes_back_in_its_place() -> None:
    """Voxel borders are aligned both ways; only the outermost voxels are clamped."""
    ramp = np.arange(16, dtype=np.float32)[:, None, None].repeat(4, axis=1).repeat(4, axis=2)
    grid = NetworkGrid.from_volume(Volume(ramp, stack_affine((1.0, 1.0), 1.0)), (2.0, 1.0, 1.0))

    found = back(grid, there(grid, ramp, high=16))

    assert np.allclose(found[:, 1, 1], [0.5, *range(1, 15), 14.5], atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_levels_are_those_of_all_voxels_in_training_and_inference(dtype) -> None:
    """Rows differ, so that percentiles of a part of them are others."""
    rows = np.linspace(100, 1000, 30)[None, :, None]
    voxels = np.random.default_rng(0).integers(1, 50, (8, 30, 6)) + rows
    voxels[:, ::3] = 0
    volume = Volume(voxels.astype(dtype), stack_affine((1.5, 1.5), 3))
    low, high = np.percentile(volume.voxels[volume.voxels > 0], (0.5, 99.5))

    inputs = NetworkInput.from_channels([volume], None, Percentiles())
    _, image = stack_channels([volume], None, Percentiles())

    assert inputs.levels[0] == pytest.approx((low, high), rel=1e-6)
    expected = np.clip((volume.voxels.astype(np.float64) - low) / (high - low), 0, 1)
    assert np.allclose(image[0], expected, atol=1e-5)
    assert np.array_equal(inputs.read_box(inputs.full_box), image)


def test_a_channel_whose_axes_were_turned_is_turned_back() -> None:
    one = Volume(np.random.default_rng(0).random((4, 5, 6)), stack_affine((1.5, 1.5), 3))
    back = one.affine @ np.array([[0, -1, 0, 3], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    other = Volume(one.voxels[::-1].transpose(1, 0, 2), back)

    _, image = stack_channels([one, other], None, Window(low=0, high=1))

    assert np.array_equal(image[0], image[1])


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


@given(st.tuples(*[st.floats(0.7, 3.0)] * 3), st.integers(0, 99))
def test_a_resampled_voxel_is_in_the_mask_where_at_least_half_of_it_is(spacing, seed) -> None:
    mask = np.random.default_rng(seed).random((8, 9, 7)) > 0.5
    grid = NetworkGrid.from_volume(Volume(mask, stack_affine((1.5, 1.5), 3.0)), spacing)

    found = grid.resample_mask(mask)

    zoom = np.divide(grid.shape, mask.shape)
    share = ndimage.zoom(mask.astype(float), zoom, order=1, mode="nearest", grid_mode=True)
    clear = np.abs(share - 0.5) > 1e-4
    assert (found.dtype, found.shape) == (np.uint8, grid.shape)
    assert np.array_equal(found[clear], share[clear] >= 0.5)


def test_half_a_voxel_is_enough_for_a_mask() -> None:
    mask = np.array([1, 0, 0, 0, 1, 1], bool)[:, None, None]
    grid = NetworkGrid.from_volume(Volume(mask, stack_affine((1.0, 1.0), 1.0)), (2.0, 1.0, 1.0))

    assert grid.resample_mask(mask).ravel().tolist() == [1, 0, 1]


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
