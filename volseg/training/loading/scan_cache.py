"""Where the training scans are kept between patches: in memory, or in files that processes share."""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from monai.data import CacheDataset
from monai.transforms import Compose, Transform

from volseg import console
from volseg.config.sections import Data
from volseg.data.dataset import Dataset, Sample
from volseg.errors import UserError
from volseg.formatting import format_bytes
from volseg.system.files import readable_write_errors
from volseg.system.hardware import available_cores, free_memory
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.packed_scan import PackedScan, bytes_per_voxel

FORMAT = 1
"""Raised when LoadScan or Packed change, so that files of an earlier version are not read."""
FOLDER = "cache"
SHARE = 0.5
"""Share of the free memory that cached scans may take."""


class CachePlacement(NamedTuple):
    """What was chosen: a folder or memory, the share of scans that has room there, and why."""

    folder: Path | None
    rate: float
    why: str


class ScanCache:
    """Training scans in packed form; `description` says where they are kept, why, and their size."""

    def __init__(self, dataset: Dataset, samples: Sequence[Sample], data: Data, *, ranks: int = 1) -> None:
        """Load all that there is room for, on all cores.

        Raises:
            UserError: a damaged file, or no room where the config wants the scans.
        """
        place = choose_placement(dataset, samples, data, ranks=ranks)
        self.names = [sample.name for sample in samples]
        self.description = f"{len(samples)} scans of {format_bytes(packed_bytes(samples, data))}: {place.why}"
        load: Transform = LoadScan(dataset, data)
        if place.folder:
            load = DiskCache(load, dataset, place.folder)
        with _exclusive_lock(place.folder):
            kept = _load_scans(load, samples[: math.floor(place.rate * len(samples))])
        self._cached = CacheDataset(
            samples, Compose([load]), cache_num=len(kept), runtime_cache=kept, copy_cache=False
        )

    def __len__(self) -> int:
        """How many."""
        return len(self.names)

    def __getitem__(self, number: int) -> PackedScan:
        """A scan: kept, or read anew where there was no room for it."""
        scan: PackedScan = self._cached[number]
        return scan


class DiskCache(Transform):  # type: ignore[misc]
    """What `load` returns, kept in a file that is made again when the scan's own files change."""

    def __init__(self, load: Callable[[Sample], PackedScan], dataset: Dataset, folder: Path) -> None:
        self.load = load
        self.dataset = dataset
        self.folder = folder

    def __call__(self, sample: Sample) -> PackedScan:
        """The scan, mapped from its file."""
        path, source = self.folder / f"{sample.name}.scan", _source_state(self.dataset, sample)
        there = PackedScan.read_mapped(path, source)
        if there is not None:
            return there
        self.load(sample).write(path, source)
        made = PackedScan.read_mapped(path, source)
        if made is None:
            raise UserError(f"{path}: was changed while it was written; train again")
        return made


def choose_placement(
    dataset: Dataset, samples: Sequence[Sample], data: Data, *, ranks: int = 1
) -> CachePlacement:
    """Where scans are kept, as `data.cache` says or as there is room.

    Raises:
        UserError: `data.cache` is "disk" and the disk has no room.
    """
    need, spare = packed_bytes(samples, data), int(SHARE * free_memory())
    room = spare // ranks
    memory = CachePlacement(None, min(1.0, room / max(need, 1)), _memory_reason(need, spare, ranks))
    if data.cache == "memory" or (data.cache == "auto" and ranks == 1 and need <= spare):
        return memory
    folder = dataset.folder / FOLDER / cache_key(dataset, data)
    missing = packed_bytes([one for one in samples if not (folder / f"{one.name}.scan").exists()], data)
    free = shutil.disk_usage(dataset.folder).free
    if missing < free and os.access(dataset.folder, os.W_OK):
        return CachePlacement(folder, 1.0, _disk_reason(folder, spare, ranks))
    if data.cache == "disk":
        raise UserError(
            f"{folder}: no room for {format_bytes(missing)} ({format_bytes(free)} free, or no permission to write); "
            "free some space or set data.cache=memory"
        )
    return memory._replace(why=f"{memory.why}; {dataset.folder} has no room for them either")


def packed_bytes(samples: Sequence[Sample], data: Data) -> int:
    """Bytes of these scans in packed form."""
    return sum(
        round(
            math.prod(one.shape)
            * math.prod(one.spacing_mm)
            / math.prod(data.spacing_mm or one.spacing_mm)
            * bytes_per_voxel(len(one.images), len(one.labels or ()))
        )
        for one in samples
    )


def cache_key(dataset: Dataset, data: Data) -> str:
    """A name for all that the packed form depends on, but for the scans' own files."""
    facts = (
        FORMAT,
        data.spacing_mm,
        data.intensity.model_dump(),
        data.below_cut,
        dataset.classes,
        dataset.facts.exclusive,
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


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
    told = f"kept in {folder} ({why}), also for later runs"
    others = [one for one in folder.parent.glob("*") if one.is_dir() and one != folder]
    if others:
        held = sum(path.stat().st_size for one in others for path in one.iterdir())
        told += f"; caches of other settings beside it hold {format_bytes(held)} and can be removed"
    return told


def _load_scans(load: Callable[[Sample], PackedScan], samples: Sequence[Sample]) -> list[PackedScan]:
    """The scans, loaded on all cores."""
    kept = []
    with console.progress_bar("loading scans") as report, ThreadPoolExecutor(available_cores()) as pool:
        try:
            for scan in pool.map(load, samples):
                kept.append(scan)
                report(len(kept), len(samples))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return kept


def _exclusive_lock(folder: Path | None) -> Any:
    """Let one process at a time fill a folder; the others then find it filled."""
    if folder is None:
        return nullcontext()
    with readable_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")


def _source_state(dataset: Dataset, sample: Sample) -> list[list[Any]]:
    """The scan's files as they are now: path, bytes and time of the last change."""
    files = [*sample.images, *(sample.labels or {}).values()]
    states = [(dataset.folder / file).stat() for file in files]
    return [[f, s.st_size, s.st_mtime_ns] for f, s in zip(files, states, strict=True)]
