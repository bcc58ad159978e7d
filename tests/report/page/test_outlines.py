import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from volseg.report.page.outlines import PARTS, mask_outline, stacked_area_paths

masks = arrays.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8)))


def corners(path):
    """The closed lines of a path, in pixels; a corner of unit (i, j) is the middle of that unit."""
    for line in re.findall(r"M([^z]*)z", path):
        start, _, steps = line.partition("l")
        numbers = [[int(n) for n in re.findall(r"-?\d+", part)] for part in (start, steps)]
        moves = np.reshape([*numbers[0], *numbers[1]], (-1, 2))
        yield (np.cumsum(moves, axis=0) + 0.5) / PARTS


def inside(path, x, y):
    """Even or odd: how often a ray to the right crosses the lines."""
    crossings = 0
    for line in corners(path):
        for (x1, y1), (x2, y2) in zip(line, np.roll(line, -1, axis=0), strict=True):
            if (y1 > y) != (y2 > y):
                crossings += x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return crossings % 2 == 1


@given(masks)
def test_an_outline_holds_the_middles_of_its_voxels_and_of_no_others(mask) -> None:
    path = mask_outline(mask, mask.shape)

    found = [[inside(path, x + 0.501, y + 0.503) for y in range(mask.shape[1])] for x in range(mask.shape[0])]
    assert np.array_equal(found, mask)


def test_a_slice_that_is_shown_smaller_keeps_its_place() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True

    places = np.concatenate(list(corners(mask_outline(mask, (20, 30)))))

    assert places.min(axis=0).tolist() == [5.125, 10.125]  # the middle of the first unit inside
    assert places.max(axis=0).tolist() == [14.875, 24.875]


def test_an_empty_slice_has_no_outline() -> None:
    assert mask_outline(np.zeros((4, 5), bool), (4, 5)) == ""


def test_stacked_areas_reach_the_height_where_their_sum_is_the_most() -> None:
    first, second = stacked_area_paths(np.array([[1.0, 3.0], [0.0, 1.0]]), 100, most=4)

    assert first == "M0,75 1,75 1,25 2,25 2,100 1,100 1,100 0,100Z"
    assert second == "M0,75 1,75 1,0 2,0 2,25 1,25 1,75 0,75Z"


def test_a_class_without_area_has_no_steps() -> None:
    assert stacked_area_paths(np.zeros((2, 3)), 100, most=0) == ["", ""]
