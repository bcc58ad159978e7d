"""The smallest box, against the places of the set voxels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from volseg.arrays import bounding_box


@given(
    arrays.arrays(bool, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)),
    st.permutations(range(3)),
    st.sampled_from([(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)]),
)
def test_the_box_is_that_of_the_set_voxels_whatever_the_order_in_memory(mask, order, steps):
    mask = mask.transpose(order)[tuple(slice(None, None, step) for step in steps)]
    places = np.argwhere(mask)
    low, high = (places.min(0), places.max(0) + 1) if len(places) else ((0,) * 3, (0,) * 3)

    assert bounding_box(mask) == tuple(map(slice, low, high))


def test_one_voxel_is_its_own_box():
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 2, 3] = True

    assert bounding_box(mask) == (slice(1, 2), slice(2, 3), slice(3, 4))
