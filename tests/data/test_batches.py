import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests import tiny
from volseg.data.batches import Patches, cache_rate, loader
from volseg.data.dataset import Dataset
from volseg.data.settings import Augment, Data
from volseg.data.transforms import CropPatch, LoadScan, first_wins, ignore_below_cut, patches
from volseg.data.volume import Volume
from volseg.masks.labels import IGNORE

STRONG = Augment(flip=("x", "y", "z"), spatial_probability=1.0, intensity_probability=1.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return tiny.write(tmp_path_factory.mktemp("tiny"), cases=2, days=2)


def made(dataset: Dataset, *, rate: float = 1.0, seed: int = 0) -> Patches:
    transform = patches(dataset, Data(), STRONG, patch=(8, 12, 16), foreground=0.5)
    return Patches(dataset.samples, transform, rate=rate, seed=seed)


def batches(
    row: Patches, *, first: int = 0, steps: int = 5, workers: int = 0
) -> list[torch.Tensor]:
    found = loader(row, batch=2, first_step=first, steps=steps, workers=workers)
    return [torch.cat([b["image"], b["label"]], dim=1) for b in found]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_batches_are_the_same_whatever_the_workers_the_cache_and_the_start(dataset) -> None:
    whole = batches(made(dataset))

    assert same(whole, batches(made(dataset)))
    assert same(whole, batches(made(dataset), workers=2))
    assert same(whole, batches(made(dataset, rate=0.0)))
    assert same(whole[3:], batches(made(dataset), first=3))


def test_another_seed_and_another_position_give_other_patches(dataset) -> None:
    one = batches(made(dataset))

    assert not same(one, batches(made(dataset, seed=1)))
    assert not torch.equal(one[0], one[2])


def test_a_pass_goes_once_through_all_scans(dataset) -> None:
    row = made(dataset)
    seen = []
    row.cache = type("Log", (), {"__getitem__": lambda _, i: seen.append(i) or {}})()
    row.cache.transform = type("T", (), {"set_random_state": lambda *_, **__: None})()

    for index in range(8):
        row[index]

    assert sorted(seen[:4]) == sorted(seen[4:]) == [0, 1, 2, 3]


def test_the_cached_scan_is_never_changed(dataset) -> None:
    row = made(dataset)
    before = [np.array(row.cache._cache[i]["image"]) for i in range(4)]

    batches(row)

    assert all(np.array_equal(b, row.cache._cache[i]["image"]) for i, b in enumerate(before))


def test_a_patch_has_its_size_also_where_the_scan_is_smaller(dataset) -> None:
    item = CropPatch((32, 8, 12), 1.0)(LoadScan(dataset, Data())(dataset.samples[0]))

    assert item["image"].shape == (1, 32, 8, 12)
    assert item["label"].shape == (2, 32, 8, 12)


def test_image_and_label_are_cut_and_turned_together(dataset) -> None:
    """The bright box stays under its mask through crop, flips, rotation and scaling."""
    weak = Augment(flip=("x", "y", "z"), brightness=0, contrast=0, noise=0, spatial_probability=1)
    transform = patches(dataset, Data(), weak, patch=(16, 16, 8), foreground=1.0)
    row = Patches(dataset.samples, transform, rate=1.0, seed=0)
    for index in range(20):
        item = row[index]
        image, bright = np.asarray(item["image"])[0], np.asarray(item["label"])[0] == 1
        if bright.sum() > 60:
            assert np.median(image[bright]) > 0.85
            assert np.median(image[~bright]) < 0.7


def test_foreground_patches_hold_an_organ(dataset) -> None:
    crop = CropPatch((8, 8, 4), 1.0)
    scan = LoadScan(dataset, Data())(dataset.samples[0])
    for seed in range(20):
        crop.set_random_state(seed)
        assert crop(scan)["label"].any()


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
        Volume(mask, tiny.AFFINE).write(dataset.folder / sample.labels[organ])

    item = LoadScan(dataset, Data(spacing_mm=(3.0, 1.5, 3.0)))(sample)

    overlap = item["label"].all(axis=0)
    assert overlap.sum() == (0 if exclusive else 16 * 10)
    assert item["label"][0, 4].all()
    assert len(item["points"][1]) == (0 if exclusive else 16 * 10)


@given(arrays.arrays(np.uint8, (3, 2, 3, 4), elements=st.integers(0, 1)))
def test_of_several_classes_at_a_voxel_the_first_stays(label) -> None:
    before = label.copy()

    found = first_wins(label)

    assert np.array_equal(found.any(axis=0), label.any(axis=0))
    assert np.array_equal(found.argmax(axis=0), label.argmax(axis=0))
    assert found.sum(axis=0).max() <= 1
    assert np.array_equal(label, before)


def test_slices_below_the_last_labelled_one_are_ignored_on_demand(dataset) -> None:
    sample = dataset.samples[0]
    kept = LoadScan(dataset, Data())(sample)["label"]
    ignored = LoadScan(dataset, Data(below_cut="ignore"))(sample)["label"]
    last = np.flatnonzero(kept.any(axis=(0, 1, 2)))[-1]

    assert (ignored[..., last + 1 :] == IGNORE).all()
    assert np.array_equal(ignored[..., : last + 1], kept[..., : last + 1])
    assert not ignore_below_cut(np.zeros((2, 3, 3, 3), np.uint8)).any()


def test_the_cache_takes_half_of_the_free_memory_at_most(dataset) -> None:
    voxels = 4 * np.prod(tiny.SHAPE)
    needed = voxels * (2 + len(tiny.CLASSES))

    assert cache_rate(dataset.samples, 2, free=int(4 * needed)) == 1.0
    assert cache_rate(dataset.samples, 2, free=int(needed)) == pytest.approx(0.5)
    finer = cache_rate(dataset.samples, 2, spacing_mm=(1.5, 1.5, 1.5), free=int(needed))
    assert finer == pytest.approx(0.25)


def test_every_kind_of_augmentation_can_be_left_out(dataset) -> None:
    off = Augment(
        rotate_degrees=0, scale=0, brightness=0, contrast=0, noise=0, intensity_probability=0
    )
    transform = patches(dataset, Data(), off, patch=(8, 8, 4), foreground=0.5)

    found = batches(Patches(dataset.samples, transform, rate=1.0, seed=0))

    assert type(found[0]) is torch.Tensor
    assert found[0].shape == (2, 3, 8, 8, 4)
