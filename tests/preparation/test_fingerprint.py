import zlib
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tests.strategies import affines
from volseg.data.layouts.nifti.volume_scan import LabelMap
from volseg.data.volume import Volume
from volseg.preparation.fingerprint import PERCENTILES, STEP, measure_scan

LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "reversed": lambda array: np.ascontiguousarray(array[::-1, :, ::-1])[::-1, :, ::-1],
    "every other": lambda array: np.repeat(array, 2, axis=1)[:, ::2],
}
KINDS = {
    "uint16": lambda rng, shape: rng.integers(0, 65536, shape).astype(np.uint16),
    "uint8": lambda rng, shape: rng.integers(0, 256, shape).astype(np.uint8),
    "zeros and ones": lambda rng, shape: rng.integers(0, 2, shape).astype(np.uint8),
    "int16": lambda rng, shape: rng.integers(-1024, 3000, shape).astype(np.int16),
    "int32": lambda rng, shape: rng.integers(-(2**31), 2**31, shape).astype(np.int32),
    "float32": lambda rng, shape: rng.normal(size=shape).astype(np.float32),
    "float64": lambda rng, shape: rng.normal(-1e6, 3, shape),
    "big-endian read": lambda rng, shape: rng.integers(0, 9, shape).astype(">i2").astype("=i2"),
}


@st.composite
def images(draw):
    """Any type, any memory layout; perhaps with a blank around the body, perhaps with blank slices."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    shape = draw(st.tuples(*[st.integers(1, 8)] * 3))
    voxels = KINDS[draw(st.sampled_from(sorted(KINDS)))](rng, shape)
    if draw(st.booleans()):
        voxels[rng.random(shape) < draw(st.floats(0, 1))] = voxels.min()
    if draw(st.booleans()):
        voxels[..., rng.integers(shape[2])] = voxels.flat[0]
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](voxels)


def masks_like(voxels, seed=0, share=0.3):
    rng = np.random.default_rng(seed)
    return {name: rng.random(voxels.shape) < share for name in ("a", "b", "c")}


def of(voxels, masks=None, affine=None, *, exclusive=False):
    affine = np.diag([-1.5, -1.5, -3.0, 1.0]) if affine is None else affine
    return measure_scan([Volume(voxels, affine)], masks, exclusive=exclusive)


def blank_of(voxels):
    """The value around the body, by its definition: the lowest, if a fifth of the looked-at voxels has it."""
    share = float((voxels[::STEP, ::STEP] == voxels.min()).mean())
    return (voxels.min(), share) if 0.2 <= share < 1 else (None, 0.0)


def corners_of(affine, ends):
    """The eight corners of a box of voxels, mm."""
    return np.array([(affine @ [*corner, 1])[:3] for corner in product(*ends)])


# Intensities


@given(images())
def test_lowest_highest_and_blank_are_those_of_the_definition(voxels):
    (found,) = of(voxels).channels
    blank, share = blank_of(voxels)

    assert (found.low, found.high) == (float(voxels.min()), float(voxels.max()))
    assert found.blank == (None if blank is None else float(blank))
    assert found.blank_share == pytest.approx(share)


@given(images())
def test_percentiles_mean_and_sd_are_those_of_the_body_at_every_third_column_and_row(voxels):
    (found,) = of(voxels).channels
    blank, _ = blank_of(voxels)
    looked_at = voxels[::STEP, ::STEP].astype(np.float64)
    body = looked_at if blank is None else looked_at[looked_at != blank]

    tolerance = {"rel": 1e-5, "abs": 1e-5 * float(np.ptp(body))}
    assert found.percentiles == pytest.approx(np.percentile(body, PERCENTILES), **tolerance)
    assert found.mean == pytest.approx(body.mean(), **tolerance)
    assert found.sd == pytest.approx(body.std(), **tolerance)


@given(images())
def test_the_mean_of_a_slice_is_that_of_its_body_and_blank_where_there_is_none(voxels):
    (found,) = of(voxels).channels
    blank, _ = blank_of(voxels)

    for z, mean in enumerate(found.slice_means):
        plane = voxels[::STEP, ::STEP, z].astype(np.float64)
        body = plane if blank is None else plane[plane != blank]
        expected = body.mean() if body.size else float(voxels.min())
        assert mean == pytest.approx(expected, rel=1e-6, abs=1e-3)


@given(images())
def test_a_slice_is_constant_iff_it_has_one_value(voxels):
    (found,) = of(voxels).channels

    expected = [z for z in range(voxels.shape[2]) if len(np.unique(voxels[..., z])) == 1]
    assert list(found.constant) == expected


@given(images(), st.data())
def test_prints_are_equal_iff_slices_are(voxels, data):
    source, target = (data.draw(st.integers(0, voxels.shape[2] - 1)) for _ in range(2))
    voxels = voxels.copy()
    voxels[..., target] = voxels[..., source]

    prints = of(voxels).channels[0].prints

    for one, first in enumerate(prints):
        for other, second in enumerate(prints):
            same = np.array_equal(voxels[..., one], voxels[..., other])
            assert (first == second) == same


def test_slices_whose_crcs_are_equal_by_design_have_other_prints():
    """A message of the generator polynomial's bits does not change a CRC-32 that it is added to."""
    polynomial = [int(bit) for bit in f"{0x104C11DB7:b}"] + 7 * [0]
    other = np.packbits(polynomial, bitorder="little")
    zeros = np.zeros_like(other)
    assert zlib.crc32(other) == zlib.crc32(zeros)

    prints = of(np.stack([zeros, other], axis=-1)[:, None]).channels[0].prints

    assert prints[0] != prints[1]


def test_the_print_of_a_slice_does_not_depend_on_the_memory_it_lies_in():
    voxels = KINDS["uint16"](np.random.default_rng(0), (5, 6, 4))

    prints = {of(layout(voxels)).channels[0].prints for layout in LAYOUTS.values()}

    assert len(prints) == 1


def test_each_channel_is_measured_by_itself():
    one, other = (KINDS["uint16"](np.random.default_rng(seed), (5, 6, 4)) for seed in (0, 1))
    grid = np.eye(4)

    both = measure_scan([Volume(one, grid), Volume(other, grid)], None, exclusive=False).channels

    assert both == (of(one).channels[0], of(other).channels[0])


def test_a_volume_of_one_value_has_no_blank_and_no_spread():
    (found,) = of(np.full((4, 5, 3), 7, np.int16)).channels

    assert (found.low, found.high, found.blank, found.blank_share) == (7, 7, None, 0)
    assert (found.mean, found.sd, set(found.percentiles)) == (7, 0, {7})
    assert found.constant == (0, 1, 2)


def test_a_blank_slice_has_the_blank_for_its_mean():
    voxels = np.full((9, 9, 3), -1024, np.int16)
    voxels[3:6, 3:6, 0] = 100
    voxels[3:6, 3:6, 2] = 50

    (found,) = of(voxels).channels

    assert found.blank == -1024
    assert found.slice_means == (100, -1024, 50)
    assert found.constant == (1,)
    assert found.mean == 75


# Organs


def test_a_box_is_measured_as_by_hand():
    """Voxels 2 to 3, 1 to 2 and 0 to 2 of 2 x 3 x 4 mm; its centre is voxel (2.5, 1.5, 1)."""
    mask = np.zeros((6, 5, 4), dtype=bool)
    mask[2:4, 1:3, 0:3] = True
    affine = np.array([[-2.0, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]])

    organ = of(np.ones((6, 5, 4), np.uint8), {"a": mask}, affine).organs["a"]

    assert organ.voxels == 12
    assert organ.volume_ml == pytest.approx(12 * 24 / 1000)
    assert organ.areas == (4, 4, 4, 0)
    assert organ.centre_mm == (5, 24.5, 34)
    assert (organ.low_mm, organ.high_mm) == ((3, 21.5, 28), (7, 27.5, 40))
    assert sorted(organ.prints) == [0, 1, 2]
    assert len(set(organ.prints.values())) == 1


@given(images(), affines(), st.integers(0, 99), st.floats(0, 0.6))
def test_organs_are_counted_and_placed_as_by_going_through_their_voxels(voxels, affine, seed, share):
    masks = masks_like(voxels, seed, share)
    found = of(voxels, masks, affine)

    for name, mask in masks.items():
        organ = found.organs[name]
        assert organ.voxels == mask.sum()
        assert organ.areas == tuple(int(mask[..., z].sum()) for z in range(mask.shape[2]))
        voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
        assert organ.volume_ml == pytest.approx(mask.sum() * voxel_ml)
        assert sorted(organ.prints) == [z for z, area in enumerate(organ.areas) if area]
        if not mask.any():
            assert (organ.centre_mm, organ.low_mm, organ.high_mm, organ.outside) == (None,) * 3 + (0,)
            continue
        centre = np.array(ndimage.center_of_mass(mask))
        np.testing.assert_allclose(organ.centre_mm, (affine @ [*centre, 1])[:3], atol=2e-3)
        box = ndimage.find_objects(mask.astype(int))[0]
        ends = [[part.start - 0.5, part.stop - 0.5] for part in box]
        corners = corners_of(affine, ends)
        np.testing.assert_allclose(organ.low_mm, corners.min(axis=0), atol=2e-3)
        np.testing.assert_allclose(organ.high_mm, corners.max(axis=0), atol=2e-3)


@given(images(), st.integers(0, 99))
def test_overlaps_count_the_voxels_that_two_classes_share(voxels, seed):
    masks = masks_like(voxels, seed)
    pairs = (("a", "b"), ("a", "c"), ("b", "c"))

    overlaps = of(voxels, masks).overlaps

    assert overlaps == {f"{x} & {y}": int((masks[x] & masks[y]).sum()) for x, y in pairs}
    assert of(voxels, masks, exclusive=True).overlaps == {}


def outside(voxels, mask, blank):
    """The definition, a voxel at a time: blank, and on one side nothing but blank up to the border."""
    count = 0
    for x, y, z in np.argwhere(mask & (voxels == blank)):
        sides = (voxels[:x, y, z], voxels[x + 1 :, y, z], voxels[x, :y, z], voxels[x, y + 1 :, z])
        count += any((side == blank).all() for side in sides)
    return count


@given(images(), st.integers(0, 99), st.floats(0.1, 1))
def test_outside_the_body_are_the_blank_voxels_with_a_free_way_to_a_side(voxels, seed, share):
    masks = masks_like(voxels, seed, share)
    found = of(voxels, masks)
    blank, _ = blank_of(voxels)

    for name, mask in masks.items():
        expected = 0 if blank is None else outside(voxels, mask, blank)
        assert found.organs[name].outside == expected


def test_gas_within_the_body_is_not_outside_but_air_beside_it_is():
    voxels = np.zeros((12, 12, 1), np.uint16)
    voxels[2:10, 2:10] = 100
    voxels[5:7, 5:7] = 0
    gas, air = np.zeros((2, 12, 12, 1), dtype=bool)
    gas[5:7, 5:7] = True
    air[0:3, 5] = True  # two voxels beside the body, one in it

    organs = of(voxels, {"gas": gas, "air": air}).organs

    assert (organs["gas"].outside, organs["air"].outside) == (0, 2)


def test_a_map_of_exclusive_labels_is_measured_as_its_masks_are():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 7, 5)).astype(np.uint8)
    voxels = KINDS["uint16"](rng, labels.shape)
    meaning = (("one", (1,)), ("two or three", (2, 3)))
    apart = {"one": labels == 1, "two or three": labels >= 2}

    as_map = of(voxels, LabelMap(labels, meaning), exclusive=True)

    assert as_map == of(voxels, apart, exclusive=True)


def test_a_scan_without_labels_has_no_organs():
    found = of(np.ones((3, 3, 3), np.uint8))

    assert found.organs is None
    assert found.overlaps == {}


# The grid


@given(images(), affines())
def test_the_grid_is_told_in_the_patients_world(voxels, affine):
    found = of(voxels, affine=affine)
    ends = [(-0.5, n - 0.5) for n in voxels.shape]
    corners = corners_of(affine, ends)

    assert found.shape == voxels.shape
    assert found.dtype == voxels.dtype.name
    np.testing.assert_allclose(found.spacing_mm, np.linalg.norm(affine[:3, :3], axis=0))
    np.testing.assert_allclose(found.box_mm, [corners.min(axis=0), corners.max(axis=0)], atol=2e-3)


def test_axes_are_named_by_where_they_run_to():
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = -2, 3, -1, 1

    assert of(np.ones((3, 3, 3), np.uint8), affine=affine).axes == "PSL"


def test_the_middle_of_the_body_is_that_of_what_is_not_blank():
    voxels = np.zeros((12, 12, 4), np.uint8)
    voxels[3:10, 0:7, 1:3] = 9  # looked at: columns 3, 6, 9, rows 0, 3, 6, slices 1, 2

    assert of(voxels, affine=np.eye(4)).body_mm == (6, 3, 1.5)


# Laws


@given(images(), st.sampled_from([0, 1, 2]), affines())
def test_turning_an_axis_and_its_affine_moves_no_organ(voxels, axis, affine):
    masks = masks_like(voxels, 1)
    turned = np.eye(4)
    turned[axis, axis], turned[axis, 3] = -1, voxels.shape[axis] - 1
    before = of(voxels, masks, affine)

    after = of(
        np.flip(voxels, axis), {name: np.flip(mask, axis) for name, mask in masks.items()}, affine @ turned
    )

    for name, organ in before.organs.items():
        now = after.organs[name]
        assert now.voxels == organ.voxels
        for place in ("centre_mm", "low_mm", "high_mm"):
            old, new = getattr(organ, place), getattr(now, place)
            assert (old is None) == (new is None)
            if old is not None:
                np.testing.assert_allclose(new, old, atol=3e-3)
    np.testing.assert_allclose(after.box_mm, before.box_mm, atol=3e-3)


@given(images(), st.integers(0, 99))
def test_measuring_changes_nothing_and_the_memory_layout_does_not_matter(voxels, seed):
    masks = masks_like(voxels, seed)
    marks = [zlib.crc32(np.ascontiguousarray(one)) for one in (voxels, *masks.values())]

    found = of(voxels, masks)

    assert [zlib.crc32(np.ascontiguousarray(one)) for one in (voxels, *masks.values())] == marks
    for layout in LAYOUTS.values():
        assert of(layout(voxels), {n: layout(mask) for n, mask in masks.items()}) == found


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 1), (8, 1, 2), (2, 2, 1), (4, 4, 1)])
def test_volumes_smaller_than_the_step_and_of_one_slice_are_measured(shape):
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(np.uint16)
    mask = np.ones(shape, dtype=bool)

    found = of(voxels, {"a": mask}, np.eye(4))

    assert found.organs["a"].voxels == voxels.size
    assert found.organs["a"].centre_mm == tuple((n - 1) / 2 for n in shape)
    assert found.channels[0].high == voxels.size - 1
