from itertools import permutations

import numpy as np
import pytest

from tests import tiny
from tests.training.patches import cut, labels
from volseg.arrays import IGNORE
from volseg.config.sections import Augment, Data
from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.data.preprocessing.grid import NetworkInput
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.inference.sliding_window import padded_box
from volseg.inference.tiling import Tiling
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.augmentation.spatial import PlacePatch
from volseg.training.loading.load_scan import LoadScan, ignore_below_cut


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return tiny.write(tmp_path_factory.mktemp("tiny"), cases=2, days=2)


def test_a_loaded_scan_has_the_datasets_labels_and_the_grids_voxel_size(dataset) -> None:
    sample = dataset.samples[0]

    native = LoadScan(dataset, Data())(sample)
    coarse = LoadScan(dataset, Data(spacing_mm=(3.0, 1.5, 3.0)))(sample)

    assert np.array_equal(labels(native), dataset.labels(sample))
    assert native.spacing_mm == (1.5, 1.5, 3.0)
    assert coarse.spacing_mm == (3.0, 1.5, 3.0)
    assert coarse.shape == (10, 16, 10)
    for mask, points in zip(labels(native), native.points, strict=True):
        assert mask[tuple(points.T)].all()
        assert len(points) == mask.sum()


@pytest.mark.parametrize("patch", [(32, 8, 12), (20, 16, 10), (4, 30, 2)])
@pytest.mark.parametrize("foreground", [0.0, 1.0])
def test_a_patch_lies_inside_the_scan_or_around_it(dataset, patch, foreground: float) -> None:
    place, scan = PlacePatch(patch, foreground), LoadScan(dataset, Data())(dataset.samples[0])
    for seed in range(30):
        place.set_random_state(seed)
        view = place(scan)
        for start, n, length in zip(view.frame.start, patch, scan.shape, strict=True):
            inside = 0 <= start <= length - n
            around = start <= 0 and start + n >= length and abs(2 * start + n - length) <= 1
            assert inside or around
        image, label = cut(scan, view.frame)
        assert image.shape == (1, *patch)
        assert label.shape == (2, *patch)


def test_a_network_sees_a_small_scan_in_training_as_in_inference(dataset) -> None:
    """In the same place of the patch, with the same values around it, be the sides odd or even."""
    sample, patch = dataset.samples[0], (27, 21, 13)
    place, scan = PlacePatch(patch, 1.0), LoadScan(dataset, Data())(sample)
    view = NetworkInput.from_channels([dataset.image(sample)], None, Data().intensity)
    x, y, z = Tiling(view.grid.shape, view.full_box, patch, 0.5).axis_tilings

    for seed in range(5):
        place.set_random_state(seed)
        trained, _ = cut(scan, place(scan).frame)

        inferred = padded_box(view, (x.full_range, y.full_range, z.full_range))
        np.testing.assert_array_equal(trained, inferred.astype(np.float16))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_scans_voxel_size_follows_its_axes_when_they_are_turned(tmp_path, order) -> None:
    """Rotation and elastic fields are in mm; the native axes may lie in any order."""
    dataset = tiny.write(tmp_path, cases=1, days=1)
    sample = dataset.samples[0]
    affine = tiny.AFFINE @ np.diag([1, 2, 3, 1])
    for file in (*sample.images, *sample.labels.values()):
        volume = volume_files.read(dataset.folder / file)
        turned = Volume(volume.voxels.transpose(order), affine[:, [*order, 3]])
        write_volume(turned, dataset.folder / file)

    scan = LoadScan(dataset, Data())(sample.model_copy(update={"shape": turned.voxels.shape}))

    assert scan.shape == tiny.SHAPE
    assert scan.spacing_mm == pytest.approx((1.5, 3.0, 9.0))


def test_foreground_patches_hold_an_organ(dataset) -> None:
    place, scan = PlacePatch((8, 8, 4), 1.0), LoadScan(dataset, Data())(dataset.samples[0])
    for seed in range(20):
        place.set_random_state(seed)
        assert cut(scan, place(scan).frame)[1].any()


def test_one_number_rotates_about_z_three_about_each_axis() -> None:
    assert Augment(rotate_degrees=20).degrees == (0, 0, 20)
    assert Augment(rotate_degrees=(10, 0, 20)).degrees == (10, 0, 20)


def test_what_is_asked_for_is_done_in_one_order() -> None:
    kinds = ("elastic_mm", "gamma", "blur", "low_resolution")
    everything = Augment(flip=("x",), **dict.fromkeys(kinds, 0.5))

    steps = build_augmentation(everything, patch=(4, 4, 4), foreground=0.5).transforms

    assert [type(step).__name__ for step in steps] == [
        "PlacePatch", "Flip", "RotateZoom", "ElasticDeformation",
        "Gamma", "Blur", "LowResolution", "Contrast", "Brightness", "Noise",
    ]  # fmt: skip


@pytest.mark.parametrize("exclusive", [False, True])
def test_labels_of_exclusive_classes_are_disjoint_though_resampling_cuts_both_at_one_half(
    tmp_path, exclusive: bool
) -> None:
    """Two voxels along x become one, half of each class; a voxel that both would have is the first's."""
    dataset = tiny.write(tmp_path, cases=1, days=1, exclusive=exclusive)
    sample = dataset.samples[0]
    for organ, left in zip(tiny.CLASSES, (8, 9), strict=True):
        mask = np.zeros(tiny.SHAPE, np.uint8)
        mask[left] = 1
        write_volume(Volume(mask, tiny.AFFINE), dataset.folder / sample.labels[organ])

    scan = LoadScan(dataset, Data(spacing_mm=(3.0, 1.5, 3.0)))(sample)

    overlap = labels(scan).all(axis=0)
    assert overlap.sum() == (0 if exclusive else 16 * 10)
    assert labels(scan)[0, 4].all()
    assert len(scan.points[1]) == (0 if exclusive else 16 * 10)


def test_slices_below_the_last_labelled_one_are_ignored_on_demand(dataset) -> None:
    sample = dataset.samples[0]
    kept = labels(LoadScan(dataset, Data())(sample))
    below = labels(LoadScan(dataset, Data(below_cut="ignore"))(sample))
    last = np.flatnonzero(kept.any(axis=(0, 1, 2)))[-1]

    assert (below[..., last + 1 :] == IGNORE).all()
    assert np.array_equal(below[..., : last + 1], kept[..., : last + 1])
    assert not ignore_below_cut(np.zeros((2, 3, 3, 3), np.uint8)).any()
