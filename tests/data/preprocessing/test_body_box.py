"""What lies in the box around the patient: all of the body, little of the air."""

import csv
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.strategies import shapes, spacings
from volseg.data import volume_files
from volseg.data.layouts.gi_tract.rle import decode
from volseg.data.layouts.gi_tract.slice_scan import read_folder
from volseg.data.phantom import FULL, SMALL, simulate_scan
from volseg.data.preprocessing.body_box import body_box
from volseg.postprocessing.body_mask import FEWER, SAMPLES, sample_positions

MM = (1.5, 1.5, 3.0)
SIZE = (70, 60, 40)
AXES = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def whole(shape):
    return tuple(slice(0, length) for length in shape)


def share(box, shape):
    return np.prod([side.stop - side.start for side in box]) / np.prod(shape)


def holds(box, mask):
    outside = np.array(mask)
    outside[box] = False
    return not outside.any()


def tight_box(mask):
    """The reference: first to last plane with a voxel."""
    places = np.argwhere(mask)
    return tuple(slice(first, last + 1) for first, last in zip(places.min(0), places.max(0), strict=True))


def ellipsoid(shape, centre, radii):
    grid = np.ogrid[tuple(slice(0, length) for length in shape)]
    return sum(((x - c) / r) ** 2 for x, c, r in zip(grid, centre, radii, strict=True)) <= 1


def slab(air=0, tissue=100, dtype=np.int16):
    """A block of tissue at [20:50, 15:40, 10:30] of the air."""
    voxels = np.full(SIZE, air, dtype)
    voxels[20:50, 15:40, 10:30] = tissue
    return voxels


@st.composite
def bodies(draw, shape=SIZE):
    """An ellipsoid of at least 10 voxels across in the volume or across its edges, and a seed."""
    centre = [draw(st.integers(0, length - 1)) for length in shape]
    radii = [draw(st.integers(10, length)) for length in shape]
    return ellipsoid(shape, centre, radii), draw(st.integers(0, 2**31))


def scene(mask, seed):
    """Magnitudes of tissue of 20 to 100, and of air, both with noise of 2."""
    rng = np.random.default_rng(seed)
    real = np.where(mask, rng.uniform(20, 100, mask.shape), 0) + rng.normal(0, 2, mask.shape)
    return np.rint(np.hypot(real, rng.normal(0, 2, mask.shape))).astype(np.int16)


class TestByHand:
    def test_without_a_margin_it_is_the_block_itself(self):
        box = body_box([slab()], MM, margin_mm=0)
        assert box == (slice(20, 50), slice(15, 40), slice(10, 30))

    def test_the_margin_is_in_millimetres_rounded_up_and_ends_with_the_volume(self):
        box = body_box([slab()], (1.5, 2.0, 3.0), margin_mm=31)  # 21, 16 and 11 voxels
        assert box == (slice(0, 70), slice(0, 56), slice(0, 40))
        box = body_box([slab()], (1.5, 2.0, 3.0), margin_mm=10)  # 7, 5 and 4
        assert box == (slice(13, 57), slice(10, 45), slice(6, 34))

    @pytest.mark.parametrize(("air", "tissue"), [(0, 100), (-1000, 40), (-1000, -100), (500, 600), (0, 1)])
    @pytest.mark.parametrize("dtype", [np.int16, np.int64, np.float32, np.float64, ">i2"])
    def test_any_unit_and_type(self, air, tissue, dtype):
        assert body_box([slab(air, tissue, dtype)], MM) == body_box([slab()], MM)

    def test_ct_with_noise_in_its_air(self):
        rng = np.random.default_rng(0)
        voxels = slab(-1000, 40) + rng.normal(0, 20, SIZE).astype(np.int16)
        assert body_box([voxels], MM) == body_box([slab()], MM)

    def test_a_map_of_truth_values(self):
        assert body_box([slab(0, 1, np.bool_)], MM) == body_box([slab()], MM)

    def test_channels_are_united(self):
        other = np.zeros(SIZE, np.float32)
        other[30:60, 5:20, 15:35] = 1e-6
        box = body_box([slab(), other], MM, margin_mm=0)
        assert box == (slice(20, 60), slice(5, 40), slice(10, 35))

    def test_a_channel_without_clear_air_keeps_everything(self):
        noise = np.random.default_rng(0).normal(0, 1, SIZE)
        assert body_box([slab(), noise], MM) == whole(SIZE)

    def test_a_slice_at_an_end_with_a_thumb_of_tissue_stays(self):
        voxels = slab()
        voxels[30:40, 20:30, 30:34] = 100
        assert body_box([voxels], MM, margin_mm=0)[2] == slice(10, 34)

    def test_lone_bright_voxels_and_thin_lines_in_the_air_do_not_count(self):
        voxels = slab()
        voxels[::6, ::6, ::6] = 30_000
        voxels[0, 0, :] = voxels[:, 0, 0] = 30_000
        assert body_box([voxels], MM, margin_mm=0) == body_box([slab()], MM, margin_mm=0)

    def test_fluid_that_outshines_the_tissue_does_not_make_it_air(self):
        voxels = slab()
        voxels[30:35, 20:30, 15:20] = 30_000
        assert body_box([voxels], MM) == body_box([slab()], MM)

    @pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 9), (2, 3, 40), (64, 64, 1)])
    def test_thin_volumes_are_kept_or_cut_like_others(self, shape):
        assert body_box([np.zeros(shape)], MM) == whole(shape)
        voxels = np.zeros(shape)
        voxels[:, :, : shape[2] // 2 + 1] = 1
        assert body_box([voxels], MM, margin_mm=0)[2] == slice(0, shape[2] // 2 + 1)


class TestWholeVolume:
    @given(shapes, st.sampled_from([np.uint8, np.int16, np.float32]), st.integers(0, 100))
    def test_of_a_constant_image(self, shape, dtype, value):
        assert body_box([np.full(shape, value, dtype)], MM) == whole(shape)

    @pytest.mark.parametrize("law", ["normal", "rayleigh", "exponential", "random"])
    def test_of_noise(self, law):
        voxels = getattr(np.random.default_rng(0), law)(size=SIZE)
        assert body_box([voxels], MM, margin_mm=0) == whole(SIZE)

    def test_of_tissue_in_noise_as_strong_as_a_third_of_it(self):
        rng = np.random.default_rng(0)
        voxels = np.hypot(slab() + rng.normal(0, 33, SIZE), rng.normal(0, 33, SIZE))
        assert body_box([voxels], MM) == whole(SIZE)


class TestLaws:
    @given(bodies())
    def test_it_holds_every_voxel_of_a_body_in_noise(self, body):
        mask, seed = body
        box = body_box([scene(mask, seed)], MM, margin_mm=3)
        assert holds(box, mask)

    @given(bodies())
    def test_it_is_hardly_more_than_the_body(self, body):
        mask, seed = body
        tight = tight_box(mask)
        box = body_box([scene(mask, seed)], MM, margin_mm=0)
        assert (
            all(a.start >= b.start - 1 and a.stop <= b.stop + 1 for a, b in zip(box, tight, strict=True))
            or mask.mean() < 0.05
        )

    @given(bodies(), st.integers(1, 500), st.integers(-100_000, 100_000))
    def test_unit_and_offset_do_not_matter(self, body, unit, offset):
        voxels = scene(*body)
        scaled = voxels.astype(np.int64) * unit + offset
        expected = body_box([voxels], MM)
        assert body_box([scaled], MM) == expected
        assert body_box([scaled.astype(np.float64)], MM) == expected

    @given(
        hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 12)] * 3)),
        st.sampled_from(AXES),
        st.sampled_from([1, -1]),
        spacings,
    )
    def test_flips_and_permutations_commute_with_it(self, voxels, axes, step, spacing_mm):
        box = body_box([voxels], spacing_mm, margin_mm=1)
        turned = voxels[::step, :, ::step].transpose(axes)
        found = body_box([turned], [spacing_mm[axis] for axis in axes], margin_mm=1)
        x, y, z = (found[axes.index(axis)] for axis in range(3))
        marked, wanted = np.zeros(voxels.shape, bool), np.zeros(voxels.shape, bool)
        marked[x, y, z] = True
        wanted[box] = True
        assert np.array_equal(marked[::step, :, ::step], wanted)

    @given(bodies((350, 21, 170)), st.sampled_from(AXES))
    def test_so_they_do_where_only_some_voxels_are_looked_at(self, body, axes):
        voxels = scene(*body)
        box = body_box([voxels], MM)
        turned = np.asfortranarray(voxels[::-1, ::-1, ::-1].transpose(axes))
        found = body_box([turned], [MM[axis] for axis in axes])
        for axis, length in enumerate(voxels.shape):
            side = found[axes.index(axis)]
            assert slice(length - side.stop, length - side.start) == box[axis]

    @given(bodies(), bodies())
    def test_two_channels_give_what_holds_both(self, one, other):
        channels = [scene(*one), scene(*other)]
        first, second = (body_box([channel], MM) for channel in channels)
        assert body_box(channels, MM) == tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True)
        )

    @given(st.integers(1, 3000), st.sampled_from([FEWER, SAMPLES]))
    def test_samples_are_few_mirrored_and_never_further_apart_than_a_step(self, length, most):
        places = [i for half in sample_positions(length, most) for i in range(length)[half]]
        step = -(-length // most)
        assert 0 < len(places) <= most + 1
        assert places == sorted({length - 1 - i for i in places})
        assert max(np.diff([-1, *places, length])) <= step


class TestCost:
    def test_a_large_volume_takes_little_memory(self):
        voxels = np.zeros((512, 512, 300), np.uint16, order="F")
        voxels[100:400, 150:350] = 1000
        tracemalloc.start()
        try:
            body_box([voxels], MM)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 40e6  # the volume itself: 157e6


class TestPhantom:
    @pytest.mark.parametrize("grid", [*SMALL, FULL[2]], ids=lambda grid: "x".join(map(str, grid.shape)))
    @pytest.mark.parametrize(("case", "day", "seed"), [(123, 20, 0), (7, 3, 0), (1, 0, 1)])
    def test_it_holds_every_organ_and_leaves_air_out(self, grid, case, day, seed):
        image, masks = simulate_scan(case, day, grid=grid, seed=seed)
        box = body_box([image], grid.spacing_mm)
        assert holds(box, masks.any(axis=0))
        assert share(box, image.shape) < 0.8


class TestRealScans:
    @pytest.mark.parametrize("scan", ["case139_day0", "case47_day29", "case119_day0"])
    def test_it_keeps_all_masks_and_loses_air(self, shared_data, scan):
        found = read_folder(shared_data / "uwmgi_real/train" / scan.partition("_")[0] / scan)
        image = found.image()
        box = body_box([image.voxels], image.spacing_mm)
        masks = np.zeros(image.voxels.shape, bool)
        with (shared_data / "uwmgi_real/train.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                number = int(row["id"].rpartition("_")[2])
                if row["segmentation"] and row["id"].startswith(scan):
                    masks[:, :, found.numbers.index(number)] |= decode(row["segmentation"], found.size)
        assert masks.sum() > 10_000
        assert holds(box, masks)
        assert share(box, masks.shape) < 0.8

    def test_case47_loses_the_air_at_its_left_side(self, shared_data):
        """Looked at: the body ends at column 261; signal folded in at other edges stays."""
        image = read_folder(shared_data / "uwmgi_real/train/case47/case47_day29").image()
        x, y, z = body_box([image.voxels], image.spacing_mm)
        assert x.start == 0
        assert 262 <= x.stop < 280
        assert (y, z) == (slice(0, 310), slice(0, 78))

    @pytest.mark.parametrize(("image", "label"), [("ct", "seg"), ("mr", "seg_mr")])
    def test_an_abdomen_that_fills_its_volume_keeps_its_organs(self, shared_data, image, label):
        folder = shared_data / "abdomen"
        scanned = volume_files.read(folder / f"example_{image}_sm.nii.gz")
        organs = volume_files.read(folder / f"example_{label}_gi3.nii.gz").voxels > 0
        box = body_box([scanned.voxels], scanned.spacing_mm, margin_mm=0)
        assert holds(box, organs)
        assert share(box, organs.shape) > 0.9

    def test_volumes_cut_out_of_a_brain_stay_whole(self, shared_data):
        paths = sorted((shared_data / "hippocampus/imagesTr").glob("*.nii.gz"))[::10]
        assert len(paths) == 20
        for path in paths:
            brain = volume_files.read(path)
            box = body_box([brain.voxels], brain.spacing_mm, margin_mm=0)
            assert box == whole(brain.voxels.shape)
