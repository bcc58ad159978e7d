"""Filling holes, against scipy and by hand."""

import numpy as np
from hypothesis import given
from scipy import ndimage

from tests.step_inputs import evidence_of, probabilities
from volseg.postprocessing import FillHoles, FillHolesInSlices


@given(probabilities)
def test_holes_are_filled_as_scipy_fills_them(probability):
    evidence = evidence_of(probability)

    assert np.array_equal(FillHoles()(evidence), ndimage.binary_fill_holes(evidence.mask))


@given(probabilities)
def test_in_slices_holes_are_filled_as_scipy_fills_them(probability):
    evidence = evidence_of(probability)
    slices = [ndimage.binary_fill_holes(one) for one in np.moveaxis(evidence.mask, 2, 0)]

    assert np.array_equal(FillHolesInSlices()(evidence), np.stack(slices, axis=2))


def test_a_hole_that_meets_the_outside_only_at_a_corner_is_filled():
    mask = np.ones((4, 4, 4), bool)
    mask[1, 1, 1] = mask[0, 0, 0] = False

    filled = FillHoles()(evidence_of(mask))

    assert filled[1, 1, 1]
    assert not filled[0, 0, 0]


def test_a_hole_that_is_open_at_the_edge_of_the_scan_is_no_hole():
    mask = np.ones((3, 3, 3), bool)
    mask[1, 1, 1:] = False

    assert np.array_equal(FillHoles()(evidence_of(mask)), mask)


def test_a_tube_is_a_hole_in_every_slice_though_not_in_3d():
    tube = np.ones((3, 3, 4), bool)
    tube[1, 1] = False

    assert np.array_equal(FillHoles()(evidence_of(tube)), tube)
    assert FillHolesInSlices()(evidence_of(tube)).all()
    assert np.array_equal(FillHolesInSlices()(evidence_of(tube, slice_axis=0)), tube)
