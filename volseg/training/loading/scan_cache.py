"""The cache of training scans: in memory or in files that processes share, and on the GPU if it has room."""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from volseg import console
from volseg.config.sections import Data
from volseg.data.dataset import Sample
from volseg.data.preprocessing.intensity_scaling import FLAT
from volseg.errors import UserError
from volseg.formatting import first_few, format_bytes
from volseg.system.hardware import available_cores, free_memory
from volseg.system.locks import folder_lock
from volseg.training.loading.device_scans import DeviceScans, device_room
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.packed_scan import PackedScan, bytes_per_voxel
from volseg.training.loading.teacher_maps import TeacherMaps

FORMAT = 2
"""To be raised when LoadScan or PackedScan change, so that files of an earlier version are not read."""
FOLDER = "cache"
CPU = torch.device("cpu")
SHARE = 0.5  # share of the free memory that cached scans may take


class CachePlacement(NamedTuple):
    """A folder (None: memory), the share of scans that it has room for, and the reason."""

    folder: Path | None
    rate: float
    why: str


class ScanCache:
    """Training scans in packed form; `description` has their size, their place and its reason.

    `on_device` are the scans on the training device, None where it has no room for all of them.
    """

    def __init__(
        self, load: LoadScan, samples: Sequence[Sample], *, ranks: int = 1, device: torch.device = CPU
    ) -> None:
        """Load the scans that there is room for, on all cores.

        Raises:
            UserError: a damaged file, or no room where the config wants the scans.
        """
        place = choose_placement(load, samples, ranks=ranks)
        self.names = [sample.name for sample in samples]
        need, room = packed_bytes(samples, load.data, load.teacher), device_room(device)
        self.on_device = DeviceScans(device) if 0 < need <= room else None
        self.description = f"{len(samples)} scans of {format_bytes(need)}: {place.why}"
        if self.on_device:
            self.description += f"; on the GPU as well (a quarter of its free memory, {format_bytes(room)})"
        self.taught = load.teacher is not None
        self._samples = samples
        self._load = DiskCache(load, place.folder) if place.folder else load
        with folder_lock(place.folder) if place.folder else nullcontext():
            self._cached = _load_scans(self._load, samples[: math.floor(place.rate * len(samples))])

    def flattened_classes(self, classes: Sequence[str]) -> Iterator[str]:
        """A line for each class of which scaling flattens too much in some of the scans."""
        for number, name in enumerate(classes):
            shares = {
                scan: packed.flattened[number] for scan, packed in zip(self.names, self._cached, strict=False)
            }
            scans = [scan for scan, share in shares.items() if share > FLAT]
            if scans:
                yield (
                    f"{name}: data.intensity makes up to {max(shares.values()):.0%} of it one value in "
                    f"{len(scans)} scans ({', '.join(first_few(scans, 'scans'))}); set it so that the values "
                    "of the class lie within"
                )

    def __len__(self) -> int:
        """The number of scans."""
        return len(self.names)

    def __getitem__(self, number: int) -> PackedScan:
        """A scan of the cache, or read anew where there was no room for it."""
        return self._cached[number] if number < len(self._cached) else self._load(self._samples[number])


@dataclass(frozen=True)
class DiskCache:
    """Packed scans in files, each written again when the scan's own files change."""

    load: LoadScan
    folder: Path

    def __call__(self, sample: Sample) -> PackedScan:
        """The scan, memory-mapped from its file."""
        path, source = self.folder / f"{sample.name}.scan", _source_state(self.load, sample)
        scan = PackedScan.read_mapped(path, source)
        if scan is None:
            self.load(sample).write(path, source)
            scan = PackedScan.read_mapped(path, source)
        if scan is None:
            raise UserError(f"{path}: was changed while it was written; train again")
        return scan


def choose_placement(load: LoadScan, samples: Sequence[Sample], *, ranks: int = 1) -> CachePlacement:
    """The place of the cache, by `data.cache` and the free memory and disk.

    Raises:
        UserError: `data.cache` is "disk" and the disk has no room.
    """
    dataset, data = load.dataset, load.data
    need, spare = packed_bytes(samples, data, load.teacher), int(SHARE * free_memory())
    room = spare // ranks
    memory = CachePlacement(None, min(1.0, room / max(need, 1)), _memory_reason(need, spare, ranks))
    if data.cache == "memory" or (data.cache == "auto" and ranks == 1 and need <= spare):
        return memory
    folder = dataset.folder / FOLDER / cache_key(load)
    unwritten = [sample for sample in samples if not (folder / f"{sample.name}.scan").exists()]
    missing = packed_bytes(unwritten, data, load.teacher)
    free = shutil.disk_usage(dataset.folder).free
    if missing < free and os.access(dataset.folder, os.W_OK):
        return CachePlacement(folder, 1.0, _disk_reason(folder, spare, ranks))
    if data.cache == "disk":
        raise UserError(
            f"{folder}: no room for {format_bytes(missing)} ({format_bytes(free)} free, or no permission to "
            "write); free some space or set data.cache=memory"
        )
    return memory._replace(why=f"{memory.why}; {dataset.folder} has no room for them either")


def packed_bytes(samples: Sequence[Sample], data: Data, teacher: TeacherMaps | None = None) -> int:
    """Bytes of these scans in packed form, with the maps that a teacher has of them."""

    def size(sample: Sample) -> int:
        voxels = math.prod(sample.shape) * math.prod(sample.spacing_mm)
        voxels /= math.prod(data.spacing_mm or sample.spacing_mm)
        classes = len(teacher.classes if teacher else sample.labels or ())
        maps = classes if teacher and sample.name in teacher.scans else 0
        return round(voxels * (bytes_per_voxel(len(sample.images), classes) + maps))

    return sum(map(size, samples))


def cache_key(load: LoadScan) -> str:
    """A hash of all that the packed form depends on, but for the scans' own files and maps."""
    dataset, data = load.dataset, load.data
    settings = (FORMAT, data.spacing_mm, data.intensity.model_dump(), data.below_cut)
    facts = (*settings, dataset.classes, dataset.facts.exclusive)
    teacher = (str(load.teacher.folder.resolve()),) if load.teacher else ()
    return hashlib.sha256(repr((*facts, *teacher)).encode()).hexdigest()[:12]


def _memory_reason(need: int, spare: int, ranks: int) -> str:
    half = f"half of the free memory, {format_bytes(spare)}"
    if ranks > 1:
        half += f" for {ranks} processes"
    if need <= spare // ranks:
        return f"kept in memory ({half})"
    return f"{spare / ranks / need:.0%} kept in memory ({half}), the others read anew for each patch"


def _disk_reason(folder: Path, spare: int, ranks: int) -> str:
    why = f"half of the free memory is {format_bytes(spare)}"
    if ranks > 1:
        why = f"shared by {ranks} processes"
    text = f"kept in {folder} ({why}), also for later runs"
    others = [other for other in folder.parent.glob("*") if other.is_dir() and other != folder]
    if others:
        size = sum(path.stat().st_size for other in others for path in other.iterdir())
        text += f"; caches of other settings beside it hold {format_bytes(size)} and can be removed"
    return text


def _load_scans(load: Callable[[Sample], PackedScan], samples: Sequence[Sample]) -> list[PackedScan]:
    """The packed scans, loaded on all cores."""
    scans = []
    with console.progress_bar("loading scans") as report, ThreadPoolExecutor(available_cores()) as pool:
        try:
            for scan in pool.map(load, samples):
                scans.append(scan)
                report(len(scans), len(samples))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return scans


def _source_state(load: LoadScan, sample: Sample) -> list[list[Any]]:
    """Path, bytes and time of the last change of the scan's files and its teacher's maps."""
    files = [*sample.images, *(sample.labels or {}).values()]
    if load.teacher:
        files += map(str, load.teacher.files(sample.name))
    states = [(load.dataset.folder / file).stat() for file in files]
    return [[f, s.st_size, s.st_mtime_ns] for f, s in zip(files, states, strict=True)]
