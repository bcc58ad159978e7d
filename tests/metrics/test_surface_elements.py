"""Laws of the surface's elements."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from volseg.metrics.surface_elements import CORNERS, cell_codes, element_areas, surface_voxels

SPACINGS = [(1.0, 1.0, 1.0), (1.5, 1.5, 3.0), (1.63, 1.63, 3.0), (0.7, 1.9, 1.1), (3.0, 1.0, 0.5)]


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_all_256_areas_agree_with_the_published_table(spacing_mm):
    from monai.metrics import utils

    published, kernel = utils.create_table_neighbour_code_to_surface_area(spacing_mm)

    assert kernel.ravel().tolist() == [128 >> corner for corner in range(8)]
    assert np.allclose(element_areas(spacing_mm), published.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_set_and_unset_corners_share_one_surface(spacing_mm):
    areas = element_areas(spacing_mm)

    assert areas.shape == (256,)
    assert np.allclose(areas, areas[::-1])
    assert areas[0] == 0
    assert (areas[1:-1] > 0).all()


def test_areas_turn_with_the_axes():
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).reshape(-1, 2, 2, 2)
    turned = np.packbits(bits.transpose(0, 3, 1, 2).reshape(256, 8), axis=1).ravel()

    assert np.allclose(element_areas((0.7, 1.9, 1.1))[turned], element_areas((1.9, 1.1, 0.7)))


def test_one_corner_is_cut_off_by_a_triangle():
    # through the middles of three edges of 1, 2 and 3 mm: sides of the triangle's box 0.5, 1, 1.5;
    # area = half the root of (0.5 * 1)² + (1 * 1.5)² + (0.5 * 1.5)²
    expected = math.sqrt(0.5**2 + 1.5**2 + 0.75**2) / 2

    assert element_areas((1.0, 2.0, 3.0))[128] == pytest.approx(expected)


def test_a_flat_face_has_the_area_of_a_cells_side():
    x_low = sum(128 >> corner for corner in range(8) if CORNERS[corner][0] == 0)

    assert element_areas((1.0, 2.0, 3.0))[x_low] == pytest.approx(2 * 3)


def test_a_voxel_is_wrapped_in_eight_triangles():
    codes = cell_codes(np.ones((1, 1, 1), bool))

    # the voxel is the far corner (bit 1) of the first cell and the near corner (bit 128) of the last
    assert codes.shape == (2, 2, 2)
    assert codes[0, 0, 0] == 1
    assert codes[1, 1, 1] == 128
    assert element_areas((1.0, 1.0, 1.0))[codes].sum() == pytest.approx(math.sqrt(3))


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)), st.data())
def test_the_area_of_a_whole_surface_is_the_same_for_every_flip(mask, data):
    axis = data.draw(st.integers(0, 2))
    table = element_areas((1.5, 1.5, 3.0))

    flipped = table[cell_codes(np.flip(mask, axis))].sum()
    assert flipped == pytest.approx(table[cell_codes(mask)].sum())


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)))
def test_codes_are_the_bits_of_a_cells_corners(mask):
    padded, codes = np.pad(mask, 1), cell_codes(mask)
    expected = [
        sum(int(padded[tuple(cell + corner)]) * (128 >> c) for c, corner in enumerate(CORNERS))
        for cell in np.argwhere(np.ones(codes.shape))
    ]

    assert codes.ravel().tolist() == expected


@given(
    arrays.arrays(bool, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)),
    st.sampled_from([(0, 1, 2), (0, 1), (2,)]),
)
def test_a_shell_is_what_erosion_takes_off(mask, axes):
    from scipy.ndimage import binary_erosion

    cross = np.zeros((3, 3, 3), bool)
    for axis in axes:
        np.moveaxis(cross, axis, 0)[:, 1, 1] = True

    assert np.array_equal(surface_voxels(mask, axes), mask & ~binary_erosion(mask, cross))
