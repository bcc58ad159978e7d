"""The display grid: an exact turn of axes, there and back, that every reader shows as it lies."""

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import viewed
from tests.viewed import OBLIQUE
from volseg.data.volume import Volume, stack_affine
from volseg.viewer.display_grid import DisplayGrid

TURNS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def turned_affine(axes, signs, affine=viewed.STRAIGHT) -> np.ndarray:
    """An affine whose voxel axes are those of another, in another order and direction."""
    turned = affine.copy()
    turned[:3, :3] = affine[:3, list(axes)] * signs
    return turned


@given(st.tuples(*[st.integers(1, 7)] * 3), st.sampled_from(TURNS), st.booleans(), st.integers(0, 99))
def test_a_mask_comes_back_as_it_was_from_any_orientation(shape, turn, oblique, seed) -> None:
    affine = turned_affine(*turn, OBLIQUE if oblique else np.diag([1.5, 2, 3, 1]))
    mask = np.random.default_rng(seed).integers(0, 2, shape).astype(bool)
    grid = DisplayGrid.from_volume(Volume(mask, affine))

    there = grid.from_bitmap(grid.bitmap(grid.to_display(mask)))

    assert np.array_equal(grid.to_native(there), mask)
    assert grid.to_display(mask).shape == grid.shape


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("base", [np.diag([1.5, 2, 3, 1.0]), OBLIQUE], ids=["straight", "oblique"])
def test_every_voxel_stays_where_it_is_in_the_patient(turn, base) -> None:
    shape = (3, 4, 5)
    voxels = np.arange(60).reshape(shape)
    affine = turned_affine(*turn, base)
    grid = DisplayGrid.from_volume(Volume(voxels, affine))
    shown = grid.to_display(voxels)

    for value in (0, 7, 23, 59):
        native = np.argwhere(voxels == value)[0]
        display = np.argwhere(shown == value)[0]
        assert np.allclose(affine @ [*native, 1], grid.affine @ [*display, 1])
    assert nibabel.aff2axcodes(grid.affine) == ("R", "A", "S")
    assert np.allclose(np.linalg.norm(affine[:3, turn[0].index(0)]), grid.spacing_mm[0])


def test_the_file_is_shown_as_it_lies() -> None:
    """Stacks run to the left, the back and the feet; the served file runs the other way, X fastest."""
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    grid = DisplayGrid.from_volume(Volume(voxels, stack_affine((1.5, 2.0), 3.0)))

    data = grid.encode(voxels)
    read = nibabel.Nifti1Image.from_bytes(data)

    assert np.array_equal(np.asarray(read.dataobj), voxels[::-1, ::-1, ::-1])
    assert np.array_equal(np.frombuffer(data[352:], np.int16), voxels[::-1, ::-1, ::-1].ravel(order="F"))
    assert (np.diag(read.affine)[:3] > 0).all()
    assert read.header["scl_slope"] in (1,) or np.isnan(read.header["scl_slope"])


def test_slices_are_counted_along_the_native_axis() -> None:
    down = DisplayGrid.from_volume(Volume(np.zeros((2, 3, 4)), stack_affine((1.0, 1.0), 3.0)))
    first = DisplayGrid.from_volume(Volume(np.zeros((4, 2, 3)), turned_affine((2, 0, 1), (1, 1, 1))))

    assert (down.native_slice_axis, down.native_slices) == (2, [3, 2, 1, 0])
    assert (first.native_slice_axis, first.native_slices) == (0, [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("data", "told"), [(bytes(23), "expected 24"), (bytes(25), "expected 24"), (b"\2" + bytes(23), "value 2")]
)
def test_bytes_that_are_no_mask_are_refused(data, told) -> None:
    grid = DisplayGrid.from_volume(Volume(np.zeros((2, 3, 4)), np.eye(4)))

    with pytest.raises(ValueError, match=told):
        grid.from_bitmap(data)
