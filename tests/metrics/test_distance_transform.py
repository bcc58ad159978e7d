"""Distances to a mask, against all pairs of voxels."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from volseg.metrics import distance_transform
from volseg.metrics.distance_transform import DistanceTransform

SPACING = (1.5, 2.0, 3.0)
SPACINGS = st.sampled_from([SPACING, (1.0, 1.0, 1.0), (3.0, 0.5, 0.7), (1 / 266, 1 / 266, 1 / 144)])


def sparse(share, max_side=7):
    shapes = arrays.array_shapes(min_dims=3, max_dims=3, max_side=max_side)
    values = st.sampled_from([True] + [False] * share)
    return shapes.flatmap(lambda shape: arrays.arrays(bool, shape, elements=values))


def brute(mask, spacing):
    """The distance from every voxel of the box to the mask, in C order."""
    places = np.argwhere(np.ones_like(mask)) * spacing
    ways = np.linalg.norm(places[:, None] - np.argwhere(mask) * spacing, axis=-1)
    return ways.min(axis=1)


@pytest.fixture(params=[(1, 1), (1, 3), (2, 2), (5, 3)], ids=str, autouse=True)
def reach(request, monkeypatch):
    """Near columns so few that small masks need the others too; then as it is."""
    margin, coarse = request.param
    inner = slice(margin, -margin)
    monkeypatch.setattr(distance_transform, "MARGIN", margin)
    monkeypatch.setattr(distance_transform, "COARSE", coarse)
    monkeypatch.setattr(distance_transform, "INNER", (slice(None), inner, inner))
    distance_transform._column_rings.cache_clear()
    yield
    distance_transform._column_rings.cache_clear()


@given(sparse(6), SPACINGS)
def test_distances_agree_with_all_pairs(mask, spacing):
    assume(mask.any())

    found = DistanceTransform(mask).distances_from(np.arange(mask.size), spacing)
    assert np.allclose(found, brute(mask, spacing), rtol=1e-12, atol=1e-12)


@given(sparse(20), SPACINGS, st.data())
def test_only_what_is_asked_is_exact_and_nothing_changes_sides(mask, spacing, data):
    assume(mask.any())
    expected = brute(mask, spacing)
    enough, most = sorted(data.draw(st.tuples(*[st.sampled_from([0, *expected])] * 2)))
    found = DistanceTransform(mask).distances_from(np.arange(mask.size), spacing, enough=enough, most=most)
    between = (expected > enough) & (expected < most)

    assert np.allclose(found[between], expected[between], rtol=1e-12, atol=1e-12)
    near = (expected <= enough) & (expected < most)  # what is both near and far may be told as either
    assert (found[near] <= enough * (1 + 1e-12)).all()
    assert (found[expected >= most] >= most * (1 - 1e-12)).all()


@given(sparse(20), SPACINGS, st.data())
def test_the_farthest_is_the_longest_distance_of_the_places(mask, spacing, data):
    assume(mask.any())
    asked = data.draw(arrays.arrays(bool, mask.size))
    expected = brute(mask, spacing)[asked].max(initial=0)

    found = DistanceTransform(mask).max_distance(np.flatnonzero(asked), spacing)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_two_far_corners_are_a_diagonal_apart():
    # 39 steps of 1.5 mm, 29 of 2 and 19 of 3
    mask = np.zeros((40, 30, 20), bool)
    mask[0, 0, 0] = True
    expected = np.sqrt((39 * 1.5) ** 2 + (29 * 2) ** 2 + (19 * 3) ** 2)

    assert DistanceTransform(mask).distances_from(np.array([mask.size - 1]), SPACING) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("length", [127, 128, 200, 255, 256, 700])
def test_columns_of_any_length_are_counted_without_overflow(length):
    # the first column has the voxel at its beginning, the second has none
    mask = np.zeros((length, 2, 1), bool)
    mask[0, 0] = True
    x, y, _ = np.unravel_index(np.arange(mask.size), mask.shape)

    found = DistanceTransform(mask).distances_from(np.arange(mask.size), (1.0, 1.0, 1.0))
    assert np.allclose(found, np.hypot(x, y), rtol=1e-12)


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="empty mask"):
        DistanceTransform(np.zeros((2, 2, 2), bool))
