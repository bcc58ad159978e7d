import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.strategies import affines, shapes
from volseg.data.grid import Grid, Percentiles, Window, stack
from volseg.data.volume import Volume, stack_affine
from volseg.errors import UserError


@given(shapes, affines(), st.integers(0, 99))
def test_without_resampling_the_way_back_is_exact(shape, affine, seed) -> None:
    values = np.random.default_rng(seed).random(shape, dtype=np.float32)
    grid = Grid.over(Volume(values, affine), None)

    assert np.array_equal(grid.restore(grid.orient(values)), values)


@given(shapes, affines())
def test_the_oriented_axes_run_left_posterior_inferior(shape, affine) -> None:
    place = np.indices(shape).reshape(3, -1)
    world = affine[:3, :3] @ place
    grid = Grid.over(Volume(np.zeros(shape), affine), None)

    for axis in range(3):
        along = np.argmax(np.abs(affine[:3, :3]), axis=0).tolist().index(axis)
        turned = grid.orient(world[axis].reshape(shape))
        if shape[along] > 1:
            assert (np.diff(turned, axis=axis) < 0).all()


def test_the_raw_layout_is_left_as_it_is() -> None:
    values = np.random.default_rng(0).random((5, 4, 3))

    grid = Grid.over(Volume(values, stack_affine((1.5, 1.5), 3.0)), None)

    assert np.array_equal(grid.orient(values), values)


@given(shapes, affines(), st.tuples(*[st.floats(0.7, 3.0)] * 3))
def test_a_linear_field_survives_resampling_there_and_back_inside(shape, affine, spacing) -> None:
    volume = Volume(np.full(shape, 0.25, np.float32), affine)
    grid = Grid.over(volume, spacing)

    there = grid.image(volume.voxels, Window(low=0, high=1))

    assert there.shape == grid.shape
    back = grid.restore(there)
    assert back.shape == shape
    assert np.allclose(back, 0.25, atol=1e-6)


def test_a_ramp_comes_back_in_its_place() -> None:
    """Voxel borders are aligned both ways; only the outermost voxels are clamped."""
    ramp = np.arange(16, dtype=np.float32)[:, None, None].repeat(4, axis=1).repeat(4, axis=2)
    grid = Grid.over(Volume(ramp, stack_affine((1.0, 1.0), 1.0)), (2.0, 1.0, 1.0))

    back = grid.restore(grid.image(ramp, Window(low=0, high=16)) * 16)

    assert np.allclose(back[:, 1, 1], [0.5, *range(1, 15), 14.5], atol=1e-5)


def test_channels_on_other_grids_are_refused() -> None:
    one = Volume(np.ones((4, 4, 4)), np.eye(4))
    other = Volume(np.ones((4, 4, 4)), np.diag([2.0, 1, 1, 1]))

    assert stack([one, one], None, Percentiles())[1].shape == (2, 4, 4, 4)
    with pytest.raises(UserError, match=r"channel 2 has the shape .* resample them to one grid"):
        stack([one, other], None, Percentiles())


def test_resampling_keeps_places_in_millimetres() -> None:
    ramp = np.repeat(np.arange(16, dtype=np.float32)[:, None, None], 4, axis=1).repeat(4, axis=2)
    grid = Grid.over(Volume(ramp, stack_affine((1.0, 1.0), 1.0)), (2.0, 1.0, 1.0))

    coarse = grid.image(ramp, Window(low=0, high=16)) * 16

    # Voxel i of 2 mm covers voxels 2i and 2i+1 of 1 mm; its centre lies half way between them.
    assert coarse.shape == (8, 4, 4)
    assert np.allclose(coarse[:, 0, 0], 2 * np.arange(8) + 0.5, atol=1e-5)


def test_masks_stay_binary_when_resampled() -> None:
    mask = np.random.default_rng(0).random((8, 8, 8)) > 0.5
    grid = Grid.over(Volume(mask, stack_affine((1.5, 1.5), 3.0)), (1.63, 1.4, 2.5))

    assert set(np.unique(grid.mask(mask))) <= {0, 1}


def test_percentiles_look_at_the_body_only() -> None:
    body = np.linspace(100, 1100, 1001)
    wide = np.concatenate([np.zeros(10_000), body]).reshape(-1, 1, 1)
    narrow = np.concatenate([np.zeros(10), body]).reshape(-1, 1, 1)

    scaled = Percentiles(low=0, high=50).scale(wide)[-1001:]

    assert np.array_equal(scaled, Percentiles(low=0, high=50).scale(narrow)[-1001:])
    assert scaled[250, 0, 0] == pytest.approx(0.5, abs=1e-3)
    assert scaled.max() == 1


def test_percentiles_do_not_depend_on_the_unit() -> None:
    voxels = np.random.default_rng(0).integers(0, 900, (6, 6, 6))

    one, many = (Percentiles().scale(voxels * factor) for factor in (1e-9, 17))

    assert np.allclose(one, many, atol=1e-5)


def test_an_empty_scan_scales_to_zeros() -> None:
    assert not Percentiles().scale(np.zeros((3, 3, 3), np.uint16)).any()


def test_a_window_is_absolute_and_clips() -> None:
    scaled = Window(low=-100, high=300).scale(np.array([-1000.0, -100, 100, 300, 2000]))

    assert scaled.tolist() == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize("bounds", [(50, 50), (60, 40)])
def test_low_must_be_below_high(bounds) -> None:
    with pytest.raises(ValidationError, match="low must be below high"):
        Percentiles(low=bounds[0], high=bounds[1])
    with pytest.raises(ValidationError, match="low must be below high"):
        Window(low=bounds[0], high=bounds[1])
