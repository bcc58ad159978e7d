import numpy as np
import pytest
import torch

from tests import tiny
from volseg.config.sections import Augment, Data
from volseg.data.dataset import Dataset
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.loading.loader import TrainingPatches, load_batches
from volseg.training.loading.scan_cache import ScanCache

STRONG = Augment(
    flip=("x", "y", "z"),
    rotate_degrees=(10, 10, 15),
    elastic_mm=1.0,
    spatial_probability=1.0,
    gamma=0.3,
    blur=1.0,
    low_resolution=1.0,
    intensity_probability=1.0,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return tiny.write(tmp_path_factory.mktemp("tiny"), cases=2, days=2)


def made(
    dataset: Dataset, augment: Augment = STRONG, *, seed: int = 0, cache: str = "memory"
) -> TrainingPatches:
    scans = ScanCache(dataset, dataset.samples, Data(cache=cache))
    return TrainingPatches(scans, build_augmentation(augment, patch=(8, 12, 16), foreground=0.5), seed=seed)


def batches(row: TrainingPatches, steps: range = range(5), *, workers: int = 0) -> list[torch.Tensor]:
    found = load_batches(row, batch=2, steps=steps, workers=workers)
    return [torch.cat([b["image"], b["label"]], dim=1) for b in found]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_batches_are_the_same_whatever_the_workers_the_cache_and_the_start(dataset, monkeypatch) -> None:
    whole = batches(made(dataset))

    assert same(whole, batches(made(dataset)))
    assert same(whole, batches(made(dataset), workers=2))
    assert same(whole, batches(made(dataset, cache="disk")))
    assert same(whole[3:], batches(made(dataset), range(3, 5)))
    monkeypatch.setattr("volseg.training.loading.scan_cache.free_memory", lambda: 0)
    assert same(whole, batches(made(dataset)))


def test_another_seed_and_another_position_give_other_patches(dataset) -> None:
    one = batches(made(dataset))

    assert not same(one, batches(made(dataset, seed=1)))
    assert not torch.equal(one[0], one[2])


def test_a_pass_goes_once_through_all_scans_and_each_patch_names_its_own(dataset) -> None:
    row = made(dataset)

    names = [row[position]["name"] for position in range(8)]

    assert sorted(names[:4]) == sorted(names[4:]) == sorted(row.scans.names)
    assert names == [row.scans.names[row.scan_index(position)] for position in range(8)]


def test_each_pass_has_an_order_of_its_own(dataset) -> None:
    row = made(dataset)

    passes = [tuple(row.scan_index(4 * number + place) for place in range(4)) for number in range(6)]

    assert len(set(passes)) > 2


def test_the_cached_scan_is_never_changed(dataset) -> None:
    row = made(dataset)
    before = [(row.scans[i].image.copy(), row.scans[i].bits.copy()) for i in range(4)]

    batches(row)

    for number, (image, bits) in enumerate(before):
        assert np.array_equal(image, row.scans[number].image)
        assert np.array_equal(bits, row.scans[number].bits)


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_together_have_exactly_the_batches_of_one(dataset, workers: int) -> None:
    row = made(dataset)
    steps = range(2, 5)
    whole = list(load_batches(row, batch=5, steps=steps, workers=workers))
    shares = [
        list(load_batches(row, batch=5, steps=steps, workers=workers, rank=rank, ranks=3))
        for rank in range(3)
    ]

    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        positions = torch.cat([part["position"] for part in parts])
        order = positions.argsort()
        assert batch["position"].tolist() == positions[order].tolist()
        assert batch["position"].tolist() == list(range((2 + step) * 5, (3 + step) * 5))
        for key in ("image", "label"):
            assert torch.equal(batch[key], torch.cat([part[key] for part in parts])[order])
        names = [name for part in parts for name in part["name"]]
        assert batch["name"] == [names[place] for place in order]


def test_image_and_label_move_together(dataset) -> None:
    """The bright box stays under its mask through crop, flips, rotation, zoom and displacement."""
    weak = STRONG.model_copy(
        update=dict.fromkeys(("brightness", "contrast", "noise", "gamma", "blur", "low_resolution"), 0)
    )
    row, seen = made(dataset, weak), 0
    for position in range(40):
        item = row[position]
        image, bright = item["image"][0], item["label"][0] == 1
        if bright.sum() > 60:
            seen += 1
            assert np.median(image[bright]) > 0.85
            assert np.median(image[~bright]) < 0.7

    assert seen > 5


def test_every_kind_of_augmentation_can_be_left_out(dataset) -> None:
    """What is left is exactly the scan's voxels."""
    names = ("rotate_degrees", "scale", "brightness", "contrast", "noise")
    scans = ScanCache(dataset, dataset.samples, Data())
    crop = build_augmentation(Augment(**dict.fromkeys(names, 0)), patch=(20, 16, 10), foreground=0.5)

    assert len(crop.transforms) == 2
    row = TrainingPatches(scans, crop, seed=0)
    for position in range(4):
        item, scan = row[position], scans[row.scan_index(position)]
        assert np.array_equal(item["image"], scan.image.astype(np.float32))
        mask = [scan.label_plane(number, (slice(None),) * 3) for number in range(2)]
        assert np.array_equal(item["label"], np.stack(mask))


def test_batches_are_plain_tensors(dataset) -> None:
    batch = next(iter(load_batches(made(dataset), batch=3, steps=range(1), workers=0)))

    assert type(batch["image"]) is torch.Tensor
    assert batch["image"].shape == (3, 1, 8, 12, 16)
    assert batch["image"].dtype == torch.float32
    assert batch["label"].shape == (3, 2, 8, 12, 16)
    assert batch["label"].dtype == torch.uint8
    assert batch["position"].tolist() == [0, 1, 2]
