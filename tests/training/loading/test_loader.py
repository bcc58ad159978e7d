import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import tiny
from tests.training.patches import CPU, labels, patch_at
from volseg.arrays import IGNORE
from volseg.config.sections import Augment, Data
from volseg.data.dataset import Dataset
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.loading import scan_cache
from volseg.training.loading.device_batches import BatchCutter
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.loader import AHEAD, PreparePatch, TrainingPatches, load_batches
from volseg.training.loading.packed_crop import PackedCrop
from volseg.training.loading.scan_cache import ScanCache, packed_bytes

STRONG = Augment(
    flip=("x", "y", "z"),
    rotate_degrees=(10, 10, 15),
    elastic_mm=1.0,
    spatial_probability=1.0,
    class_contrast=0.5,
    blobs=0.4,
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
    scans = ScanCache(LoadScan(dataset, Data(cache=cache)), dataset.samples)
    return TrainingPatches(scans, build_augmentation(augment, patch=(8, 12, 16), foreground=0.5), seed=seed)


def batches(row: TrainingPatches, steps: range = range(5), *, threads: int = 0) -> list[torch.Tensor]:
    found = load_batches(row, batch=2, steps=steps, threads=threads, device=CPU)
    return [torch.cat([b["image"], b["label"]], dim=1) for b in found]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_batches_are_the_same_whatever_the_threads_the_cache_and_the_start(dataset, monkeypatch) -> None:
    whole = batches(made(dataset))

    assert same(whole, batches(made(dataset)))
    assert same(whole, batches(made(dataset), threads=2))
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

    names = [batch["name"][0] for batch in load_batches(row, batch=1, steps=range(8), threads=0, device=CPU)]

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


@pytest.mark.parametrize("threads", [0, 2])
def test_ranks_together_have_exactly_the_batches_of_one(dataset, threads: int) -> None:
    row = made(dataset)
    steps = range(2, 5)
    whole = list(load_batches(row, batch=5, steps=steps, threads=threads, device=CPU))
    shares = [
        list(load_batches(row, batch=5, steps=steps, threads=threads, device=CPU, share=(rank, 3)))
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
    names = ("class_contrast", "blobs", "brightness", "contrast", "noise", "gamma", "blur", "low_resolution")
    weak = STRONG.model_copy(update=dict.fromkeys(names, 0))
    row, seen = made(dataset, weak), 0
    for position in range(40):
        item = patch_at(row, position)
        image, bright = item["image"][0], item["label"][0] == 1
        if bright.sum() > 60:
            seen += 1
            assert np.median(image[bright]) > 0.85
            assert np.median(image[~bright]) < 0.7

    assert seen > 5


def test_every_kind_of_augmentation_can_be_left_out(dataset) -> None:
    """What is left is exactly the scan's voxels."""
    names = ("rotate_degrees", "scale", "brightness", "contrast", "noise")
    scans = ScanCache(LoadScan(dataset, Data()), dataset.samples)
    crop = build_augmentation(Augment(**dict.fromkeys(names, 0)), patch=(20, 16, 10), foreground=0.5)

    assert len(crop.transforms) == 1
    row = TrainingPatches(scans, crop, seed=0)
    for position in range(4):
        item, scan = patch_at(row, position), scans[row.scan_index(position)]
        assert np.array_equal(item["image"], scan.image.astype(np.float32))
        assert np.array_equal(item["label"], labels(scan))


def test_batches_are_plain_tensors(dataset) -> None:
    batch = next(iter(load_batches(made(dataset), batch=3, steps=range(1), threads=0, device=CPU)))

    assert type(batch["image"]) is torch.Tensor
    assert batch["image"].shape == (3, 1, 8, 12, 16)
    assert batch["image"].dtype == torch.float32
    assert batch["label"].shape == (3, 2, 8, 12, 16)
    assert batch["label"].dtype == torch.uint8
    assert batch["position"].tolist() == [0, 1, 2]


def test_scans_on_the_device_give_the_same_patches_and_are_sent_once(dataset, monkeypatch) -> None:
    whole, sent = batches(made(dataset)), []
    monkeypatch.setattr(scan_cache, "device_room", lambda _: 1 << 30)
    send = PackedCrop.to
    monkeypatch.setattr(PackedCrop, "to", lambda crop, device: sent.append(crop) or send(crop, device))
    row = made(dataset)

    assert "; on the GPU as well" in row.scans.description
    assert same(whole, batches(row, threads=2))
    assert len(sent) == 4


def test_scans_stay_off_a_device_without_room_for_all(dataset, monkeypatch) -> None:
    need = packed_bytes(dataset.samples, Data())
    for room, there in ((0, False), (need - 1, False), (need, True)):
        monkeypatch.setattr(scan_cache, "device_room", lambda _, room=room: room)
        scans = made(dataset).scans
        assert (scans.on_device is not None) == there
        assert ("GPU" in scans.description) == there


def test_a_network_with_a_reach_is_given_the_same_patches_without_labels_at_inner_ends(dataset) -> None:
    scans = ScanCache(LoadScan(dataset, Data()), dataset.samples)
    place = build_augmentation(Augment(rotate_degrees=0, scale=0), patch=(8, 12, 6), foreground=0.5)

    plain, reaching = (batches(TrainingPatches(scans, place, seed=0, reach=reach)) for reach in (0, 2))

    ignored = torch.cat([batch[:, 1:] == IGNORE for batch in reaching])
    assert same([batch[:, :1] for batch in plain], [batch[:, :1] for batch in reaching])
    assert same([batch[..., 2:-2] for batch in plain], [batch[..., 2:-2] for batch in reaching])
    assert ignored[..., [0, -1]].any()


def test_a_copied_crop_gives_the_same_patch(dataset) -> None:
    """As it is sent to another device: in one piece, in memory of its own."""
    row = made(dataset)
    patch = PreparePatch(row, 2, CPU)(3)
    copy = replace(patch, crop=patch.crop.copied(pinned=False))

    one, other = (next(BatchCutter(CPU).cut_batches(iter([[each]]))) for each in (patch, copy))

    assert copy.crop.image.is_contiguous()
    assert copy.crop.image.data_ptr() != patch.crop.image.data_ptr()
    assert torch.equal(one["image"], other["image"])
    assert torch.equal(one["label"], other["label"])


def test_closing_ends_the_threads_at_once(dataset) -> None:
    found = load_batches(made(dataset), batch=2, steps=range(10**6), threads=3, device=CPU)
    next(found)
    assert any(thread.name.startswith("patches") for thread in threading.enumerate())

    found.close()

    assert not any(thread.name.startswith("patches") for thread in threading.enumerate())


def test_threads_prepare_no_more_than_a_few_batches_ahead(dataset, monkeypatch) -> None:
    row, drawn = made(dataset), []
    draw = TrainingPatches.draw
    monkeypatch.setattr(TrainingPatches, "draw", lambda own, n: drawn.append(n) or draw(own, n))

    with closing(load_batches(row, batch=2, steps=range(10**6), threads=2, device=CPU)) as found:
        for _ in range(3):
            next(found)

    assert max(drawn) < 2 * (3 + AHEAD)


def test_what_is_drawn_does_not_depend_on_other_draws_at_the_same_time(dataset) -> None:
    row = made(dataset)
    expected = [row.draw(position) for position in range(40)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(row.draw, range(40)))

    for one, other in zip(expected, found, strict=True):
        assert one.frame.start == other.frame.start
        assert np.array_equal(one.frame.matrix, other.frame.matrix)
        assert np.array_equal(one.frame.bend, other.frame.bend)
        assert one.class_factors == other.class_factors
        assert one.blobs == other.blobs
        assert one.changes == other.changes


def test_grey_values_of_a_class_are_multiplied_by_its_drawn_factor_before_all_other_changes(dataset) -> None:
    alone = dict.fromkeys(("rotate_degrees", "scale", "brightness", "contrast", "noise"), 0)
    plain, power = Augment(**alone), Augment(**alone, gamma=0.5, class_contrast=0.5, intensity_probability=1)
    given, row = made(dataset, plain), made(dataset, power)

    for position in range(6):
        drawn, item = row.draw(position), patch_at(row, position)
        image, label = (patch_at(given, position)[key] for key in ("image", "label"))
        factors = np.where(label == 1, np.array(drawn.class_factors)[:, None, None, None], 1).prod(axis=0)
        (raised,) = drawn.changes
        assert np.array_equal(label, item["label"])
        assert np.allclose(item["image"], (image * factors) ** raised.exponent, atol=1e-5)


def test_blobs_are_painted_beside_the_classes_before_all_other_changes(dataset) -> None:
    alone = dict.fromkeys(("rotate_degrees", "scale", "brightness", "contrast", "noise"), 0)
    given = made(dataset, Augment(**alone))
    row = made(dataset, Augment(**alone, blobs=0.5, gamma=0.5, intensity_probability=1))

    for position in range(6):
        drawn, item, plain = row.draw(position), patch_at(row, position), patch_at(given, position)
        image = torch.from_numpy(plain["image"].copy())
        for blob in drawn.blobs:
            blob.paint(image, torch.from_numpy(plain["label"]))
        (raised,) = drawn.changes
        raised(image)
        assert np.array_equal(plain["label"], item["label"])
        assert np.allclose(item["image"], image, atol=1e-5)


def test_gradients_are_recorded_while_batches_are_used(dataset) -> None:
    found = load_batches(made(dataset), batch=1, steps=range(2), threads=0, device=CPU)

    assert all(torch.is_grad_enabled() for _ in found)
