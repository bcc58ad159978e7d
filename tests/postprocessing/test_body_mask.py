"""The body in an image: by hand, against scipy, and that no organ is cut, of phantoms and of real scans."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from volseg.data import volume_files
from volseg.data.layouts.gi_tract.rle import decode
from volseg.data.layouts.gi_tract.slice_scan import read_folder
from volseg.data.phantom import FULL, SMALL, simulate_scan
from volseg.postprocessing.body_mask import Body, cover_cubes

MM = (1.5, 1.5, 3.0)


def whole(image: np.ndarray, spacing_mm=MM, margin_mm: float = 0.0) -> np.ndarray:
    return Body(image, spacing_mm, margin_mm).mask_in_slices(slice(0, image.shape[2]))


@st.composite
def images(draw) -> np.ndarray:
    """Blocks of tissue in air with some noise; uint16 (X, Y, Z)."""
    shape = draw(st.tuples(*[st.integers(1, 14)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    blocks = rng.random([-(-side // 4) for side in shape]) < draw(st.sampled_from([0.3, 0.7]))
    begun = draw(st.integers(0, 3))
    tissue = np.kron(blocks, np.ones((4, 4, 4)))[tuple(slice(n) for n in shape)]
    tissue = np.roll(tissue, begun, axis=2)
    return np.where(tissue > 0, 400, rng.integers(0, 30, shape)).astype(np.uint16)


@given(images(), st.sampled_from([0.0, 2.0, 4.0]))
def test_it_is_what_cube_by_cube_and_scipys_morphology_give(image, margin_mm):
    values = np.sort(image, axis=None).astype(float)
    dark, bright = values[int(0.02 * (values.size - 1))], values[int(np.ceil(0.95 * (values.size - 1)))]
    sides = [min(3, length) for length in image.shape]
    counts = np.lib.stride_tricks.sliding_window_view(image > dark + (bright - dark) / 12, sides)
    body = np.zeros(image.shape, bool)
    for x, y, z in np.argwhere(counts.mean(axis=(3, 4, 5)) >= 0.75):
        body[x : x + 3, y : y + 3, z : z + 3] = True
    reach = [int(np.ceil(margin_mm / mm)) for mm in MM]
    near = ndimage.binary_dilation(body, np.ones([2 * count + 1 for count in reach]))
    expected = [ndimage.binary_fill_holes(one) for one in np.moveaxis(near, 2, 0)]

    expected = np.stack(expected, axis=2) if body.any() else np.ones(image.shape, bool)
    assert np.array_equal(whole(image, margin_mm=margin_mm), expected)


@settings(max_examples=200)
@given(images(), st.data(), st.sampled_from([0.0, 4.0]))
def test_some_slices_are_those_of_the_whole(image, data, margin_mm):
    start = data.draw(st.integers(0, image.shape[2] - 1))
    z = slice(start, data.draw(st.integers(start + 1, image.shape[2])))

    assert np.array_equal(
        Body(image, MM, margin_mm).mask_in_slices(z), whole(image, margin_mm=margin_mm)[:, :, z]
    )


@given(images(), st.integers(1, 9), st.integers(-1000, 1000), st.sampled_from([float, np.int32]))
def test_unit_offset_and_type_of_the_image_do_not_matter(image, unit, offset, kind):
    other = (image.astype(kind) * unit) + offset

    assert np.array_equal(whole(other), whole(image))


@given(
    st.tuples(*[st.integers(1, 6)] * 3).flatmap(lambda shape: st.tuples(st.just(shape), st.integers(0, 99))),
    st.lists(st.integers(0, 7), min_size=3, max_size=3),
)
def test_growing_is_dilation_by_a_box(drawn, reach):
    shape, seed = drawn
    mask = np.random.default_rng(seed).random(shape) < 0.1
    box = np.ones([2 * count + 1 for count in reach])

    assert np.array_equal(cover_cubes(mask, shape, reach), ndimage.binary_dilation(mask, box))


def test_air_in_the_bowel_belongs_to_the_body_and_noise_in_the_air_does_not():
    """Even where a gap of 4 mm in the wall opens the bowel; lone bright voxels are noise."""
    image = np.zeros((40, 40, 5), np.uint16)
    image[5:25, 5:25] = 300
    image[9:21, 9:21] = 0
    image[21:25, 14:17] = 0
    image[35:37, 35:37, 2] = 900

    found = whole(image, margin_mm=3.0)

    assert found[9:21, 9:21].all()
    assert not found[30:, 30:].any()
    assert not whole(image)[12:18, 12:18].any()  # an open gap without a margin


@pytest.mark.parametrize("value", [0, 7])
def test_an_image_all_alike_is_all_body(value):
    assert whole(np.full((4, 4, 4), value, np.uint8)).all()


def lost(image: np.ndarray, spacing_mm, organs: np.ndarray) -> int:
    """Voxels of organs that lie outside the body, even without a margin."""
    return int((organs & ~whole(image, spacing_mm)).sum())


@pytest.mark.parametrize("grid", [*SMALL, FULL[2]], ids=lambda grid: "x".join(map(str, grid.shape)))
@pytest.mark.parametrize(("case", "day", "seed"), [(123, 20, 0), (7, 3, 0), (1, 0, 1)])
def test_no_organ_of_a_phantom_is_cut_and_air_is(grid, case, day, seed):
    image, masks = simulate_scan(case, day, grid=grid, seed=seed)

    assert lost(image, grid.spacing_mm, masks.any(axis=0)) == 0
    assert whole(image, grid.spacing_mm, 10.0).mean() < 0.55


@pytest.mark.parametrize("scan", ["case139_day0", "case47_day29", "case119_day0"])
def test_no_organ_of_a_real_scan_is_cut_and_air_is(shared_data, scan):
    found = read_folder(shared_data / "uwmgi_real/train" / scan.partition("_")[0] / scan)
    image = found.image()
    organs = np.zeros(image.voxels.shape, bool)
    with (shared_data / "uwmgi_real/train.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["segmentation"] and row["id"].startswith(scan):
                z = found.numbers.index(int(row["id"].rpartition("_")[2]))
                organs[:, :, z] |= decode(row["segmentation"], found.size)

    assert organs.sum() > 10_000
    assert lost(image.voxels, image.spacing_mm, organs) == 0
    assert 0.3 < whole(image.voxels, image.spacing_mm, 10.0).mean() < 0.6


def test_the_body_of_the_other_real_scan_ends_where_it_does(shared_data):
    """Looked at: it ends at column 261. In outer slices a faint coil beyond it counts as body."""
    image = read_folder(shared_data / "uwmgi_real/train/case47/case47_day29").image()

    found = whole(image.voxels, image.spacing_mm, 10.0)

    assert not found[280:, :, 20:60].any()
    assert found[280:].mean() < 0.03
    assert 0.3 < found.mean() < 0.5


@pytest.mark.parametrize(("image", "label"), [("ct", "seg"), ("mr", "seg_mr")])
def test_no_organ_of_an_abdomen_that_fills_its_volume_is_cut(shared_data, image, label):
    folder = shared_data / "abdomen"
    scanned = volume_files.read(folder / f"example_{image}_sm.nii.gz")
    organs = volume_files.read(folder / f"example_{label}_gi3.nii.gz").voxels > 0

    assert lost(scanned.voxels, scanned.spacing_mm, organs) == 0


def test_nothing_of_a_volume_cut_out_of_a_brain_is_cut(shared_data):
    for path in sorted((shared_data / "hippocampus/imagesTr").glob("*.nii.gz"))[::10]:
        brain = volume_files.read(path)
        label = volume_files.read(shared_data / "hippocampus/labelsTr" / path.name)

        assert lost(brain.voxels, brain.spacing_mm, label.voxels > 0) == 0
