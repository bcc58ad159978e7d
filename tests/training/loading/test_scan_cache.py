import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from volseg.config.sections import Data
from volseg.data.dataset import Dataset
from volseg.data.preprocessing.grid import Window
from volseg.data.volume import Volume
from volseg.data.volume_files import read, write_volume
from volseg.errors import UserError
from volseg.training.loading.scan_cache import (
    FOLDER,
    LoadScan,
    ScanCache,
    cache_key,
    choose_placement,
    packed_bytes,
)

VOXELS = int(np.prod(tiny.SHAPE))


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return tiny.write(tmp_path, cases=2, days=2)


def kept(dataset: Dataset, **settings: object) -> ScanCache:
    return ScanCache(LoadScan(dataset, Data(**settings)), dataset.samples)


def files(dataset: Dataset) -> list[Path]:
    return sorted((dataset.folder / FOLDER).rglob("*.scan"))


def free(monkeypatch, memory: int, disk: int = 1 << 40) -> None:
    monkeypatch.setattr("volseg.training.loading.scan_cache.free_memory", lambda: memory)
    usage = namedtuple("usage", "free")(disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_memory_and_disk_hold_the_same_scans(dataset) -> None:
    in_memory, on_disk = kept(dataset, cache="memory"), kept(dataset, cache="disk")

    for number in range(4):
        one, other = in_memory[number], on_disk[number]
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.bits, other.bits)
        assert one.image.strides == other.image.strides
        assert one.bits.strides == other.bits.strides
        assert all(map(np.array_equal, one.points, other.points))
        assert (one.spacing_mm, one.exclusive) == (other.spacing_mm, other.exclusive)
    assert isinstance(on_disk[0].image.base.base, np.memmap) or not on_disk[0].image.flags.owndata


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_class_that_scaling_flattens_is_told_by_its_scans(dataset, cache) -> None:
    image = dataset.image(dataset.samples[0])
    inside = dataset.label(dataset.samples[0], tiny.CLASSES[0])
    grey = np.where(inside, 5000, 100) + np.arange(image.voxels.size).reshape(image.voxels.shape) % 50
    write_volume(image.with_voxels(grey.astype(np.uint16)), dataset.folder / dataset.samples[0].images[0])
    window = {"name": "window", "low": 0, "high": 400}

    for _ in range(2):  # from the scan's files, and from the cache's
        lines = [*kept(dataset, cache=cache, intensity=window).flattened_classes(dataset.classes)]
        told = next(line for line in lines if line.startswith(tiny.CLASSES[0]))
        assert "up to 100% of it one value" in told
        assert dataset.samples[0].name in told
    wide = {"name": "window", "low": -1, "high": 1e5}
    assert not [*kept(dataset, cache=cache, intensity=wide).flattened_classes(dataset.classes)]


def test_a_second_run_reads_no_scan(dataset, monkeypatch) -> None:
    kept(dataset, cache="disk")
    monkeypatch.setattr(LoadScan, "__call__", lambda *_: pytest.fail("loaded again"))

    assert len(kept(dataset, cache="disk")) == 4


@pytest.mark.parametrize("which", ["image", "label"])
def test_a_changed_file_of_a_scan_is_noticed(dataset, which: str) -> None:
    kept(dataset, cache="disk")
    sample = dataset.samples[1]
    path = dataset.folder / (sample.images[0] if which == "image" else sample.labels["stomach"])
    volume = read(path)
    write_volume(Volume(volume.voxels[::-1], volume.affine), path)
    before = [one.stat().st_mtime_ns for one in files(dataset)]

    found, expected = kept(dataset, cache="disk"), LoadScan(dataset, Data())(sample)

    assert np.array_equal(found[1].image, expected.image)
    assert np.array_equal(found[1].bits, expected.bits)
    after = [one.stat().st_mtime_ns for one in files(dataset)]
    assert [one != other for one, other in zip(before, after, strict=True)] == [False, True, False, False]


def test_other_settings_have_other_files_and_are_told(dataset) -> None:
    base = Data()
    others = [
        Data(spacing_mm=(1.5, 1.5, 1.5)),
        Data(intensity=Window(low=0, high=9)),
        Data(below_cut="ignore"),
    ]
    keys = [cache_key(LoadScan(dataset, one)) for one in (base, *others)]

    assert len(set(keys)) == 4
    assert cache_key(LoadScan(dataset, Data(cache="disk", hold_out=("case1",)))) == keys[0]
    assert "other settings" not in kept(dataset, cache="disk").description
    assert "caches of other settings" in kept(dataset, cache="disk", below_cut="ignore").description
    assert len(files(dataset)) == 8


def test_other_classes_have_other_files(dataset) -> None:
    """Bits are classes in their order, so a cache is of one list of classes, disjoint or not."""
    facts = [
        dataset.facts,
        dataset.facts.model_copy(update={"classes": dataset.classes[::-1]}),
        dataset.facts.model_copy(update={"classes": dataset.classes[:1]}),
        dataset.facts.model_copy(update={"exclusive": True}),
    ]

    assert len({cache_key(LoadScan(Dataset(dataset.folder, one), Data())) for one in facts}) == 4


def test_memory_is_taken_where_half_of_what_is_free_is_enough(dataset, monkeypatch) -> None:
    """Two bytes a voxel of the image and one for up to seven classes."""
    need = 4 * VOXELS * 3
    assert packed_bytes(dataset.samples, Data()) == need

    for memory, ranks, folder in ((2 * need, 1, False), (2 * need - 2, 1, True), (9 * need, 2, True)):
        free(monkeypatch, memory)
        place = choose_placement(LoadScan(dataset, Data()), dataset.samples, ranks=ranks)
        assert (place.folder is not None) == folder
        assert place.rate == 1

    assert packed_bytes(dataset.samples, Data(spacing_mm=(1.5, 1.5, 1.5))) == 2 * need


def test_without_room_on_the_disk_a_part_is_kept_in_memory(dataset, monkeypatch) -> None:
    free(monkeypatch, 4 * VOXELS * 3, disk=100)

    scans = kept(dataset)

    assert "50% kept in memory" in scans.description
    assert "has no room for them either" in scans.description
    assert not files(dataset)
    assert np.array_equal(scans[3].image, LoadScan(dataset, Data())(dataset.samples[3]).image)
    with pytest.raises(UserError, match=r"no room for 1 MB .* set data\.cache=memory"):
        kept(dataset, cache="disk")


def test_a_damaged_file_of_the_cache_is_made_again(dataset) -> None:
    expected = kept(dataset, cache="disk")[2].image.copy()
    path = files(dataset)[2]
    os.truncate(path, path.stat().st_size // 2)

    assert np.array_equal(kept(dataset, cache="disk")[2].image, expected)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_damaged_scan_is_a_users_error(dataset, cache: str) -> None:
    path = dataset.folder / dataset.samples[2].images[0]
    path.write_bytes(path.read_bytes()[:600])

    with pytest.raises(UserError, match=r"case2_day0\.nii\.gz: not a readable volume"):
        kept(dataset, cache=cache)
