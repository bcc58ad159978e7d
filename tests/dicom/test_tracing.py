"""Contours of masks: closed, on voxel edges, one an island, and the mask again by even-odd."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from tests.dicom.geometry_phantom import geometry_mask
from volseg.data.layouts.dicom.rasterizing import fill_contours
from volseg.dicom.tracing import trace_contours

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())


def steps(contour):
    """The steps from each point to the next, the last one back to the first."""
    return np.roll(contour, -1, axis=0) - contour


@given(masks)
def test_the_mask_comes_back(mask):
    assert (fill_contours(trace_contours(mask), mask.shape) == mask).all()


@given(masks)
def test_there_is_a_contour_for_each_island_and_it_holds_that_island_alone(mask):
    islands, count = ndimage.label(mask)  # by sides, not by corners

    filled = [fill_contours([contour], mask.shape) for contour in trace_contours(mask)]

    assert len(filled) == count
    assert {one.tobytes() for one in filled} == {(islands == n).tobytes() for n in range(1, count + 1)}


@given(masks)
def test_contours_run_along_voxel_edges_and_their_first_point_is_not_repeated(mask):
    for contour in trace_contours(mask):
        assert (contour % 1 == 0.5).all()
        assert (np.count_nonzero(steps(contour), axis=1) == 1).all()
        assert len(contour) >= 4


@given(masks)
def test_the_area_with_its_sign_is_the_number_of_voxels_so_holes_run_the_other_way(mask):
    contours = trace_contours(mask)

    doubled = [np.sum(c[:, 0] * np.roll(c[:, 1], -1) - np.roll(c[:, 0], -1) * c[:, 1]) for c in contours]

    assert sum(doubled) == 2 * mask.sum()


@given(masks)
def test_points_in_a_straight_line_are_left_out_but_where_keyholes_begin(mask):
    for contour in trace_contours(ndimage.binary_fill_holes(mask)):
        here = steps(contour)
        assert (np.sum(here * np.roll(here, 1, axis=0), axis=1) == 0).all()


@given(masks)
def test_a_keyhole_runs_there_and_back_on_the_same_line(mask):
    """So it holds nothing, whatever rounding does to its ends."""
    for contour in trace_contours(mask):
        edges = [tuple(map(tuple, pair)) for pair in zip(contour, np.roll(contour, -1, axis=0), strict=True)]
        turned = {(end, start) for start, end in edges}
        outline = [edge for edge in edges if edge not in turned]
        channels = [edge for edge in edges if edge in turned]
        assert len(outline) + len(channels) == len(edges)
        assert all(start[0] == end[0] for start, end in channels)


@pytest.mark.parametrize(
    ("rows", "contours", "points"),
    [
        (["#"], 1, 4),
        (["##"], 1, 4),
        (["#.", ".#"], 2, 8),
        (["###", "#.#", "###"], 1, 11),
        (["####", "#..#", "##.#", "####"], 1, 13),
        (["#####", "#...#", "#.#.#", "#...#", "#####"], 2, 15),
        (["##.", "#.#", "###"], 1, 10),
        (["", ""], 0, 0),
    ],
)
def test_small_shapes_have_the_points_that_they_need(rows, contours, points):
    """A square has 4 corners; a hole adds its own, its topmost one once more, and where its keyhole begins.

    The keyhole of a hole below the midst of a straight edge begins twice there: 4 + 4 + 1 + 2.
    """
    width = max(map(len, rows)) or 1
    mask = np.array([[letter == "#" for letter in row.ljust(width, ".")] for row in rows])

    traced = trace_contours(mask)

    assert len(traced) == contours
    assert sum(map(len, traced)) == points


def test_the_geometry_phantom_comes_back_slice_by_slice():
    mask = geometry_mask()

    again = [fill_contours(trace_contours(plane), plane.shape) for plane in mask]

    assert (np.array(again) == mask).all()
