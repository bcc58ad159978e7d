"""Augmented training patches a second: volseg's data path against the plain MONAI way.

    .venv/bin/python benchmarks/patches.py [PREPARED] [--patch X Y Z] [--rounds N] [--seconds S]

PREPARED is a prepared dataset; by default full-size phantom scans, drawn in patches-benchmark/ unless they
are there. The same probabilities and ranges of augmentation on all sides, in turn:

- plain: LoadImaged, EnsureChannelFirstd, Orientationd, Spacingd, RandCropByPosNegLabeld, RandAffined and
  intensities in a Dataset, every patch from .nii.gz
- plain x4: the same, but four patches from each scan that was read
- cached: the same chain in a CacheDataset that holds every scan
- ours: `volseg.data`, scans in memory, and once more from memory-mapped files

Each in this process on one thread; then MONAI's through a DataLoader with one worker process, ours with one
thread that prepares patches.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from monai import transforms as mt
from monai.data import CacheDataset, list_data_collate
from monai.data import Dataset as Plain
from torch.utils.data import DataLoader, Sampler

from volseg.config.sections import Augment, Data
from volseg.data.dataset import Dataset
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.loader import TrainingPatches, load_batches
from volseg.training.loading.scan_cache import ScanCache

AUGMENT = Augment(flip=("x", "y"))
BATCH, FOREGROUND = 4, 0.67
CPU = torch.device("cpu")
SPATIAL, OFTEN = AUGMENT.spatial_probability, AUGMENT.intensity_probability


class _Endless(Sampler[int]):
    def __init__(self, length: int) -> None:
        self.length = length

    def __iter__(self) -> Iterator[int]:
        return (number % self.length for number in count())


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", nargs="?", type=Path)
    parser.add_argument("--patch", nargs=3, type=int, default=(96, 96, 48))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    dataset = Dataset.load(given.prepared or phantom(Path("patches-benchmark")))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # files of the cache go elsewhere
        ways = streams(dataset, tuple(given.patch), Path(folder))
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, start in ways.items():
                took[name].append(rate(start(), given.seconds))
    for where in ("one process", "one beside"):
        ours = took[f"ours ({where})"]
        for name, rates in took.items():
            if name.endswith(f"({where})"):
                ratio = statistics.median(o / r for o, r in zip(ours, rates, strict=True))
                print(f"{name:24} {statistics.median(rates):8.1f} patches/s; ours {ratio:6.2f} x")


def phantom(folder: Path) -> Path:
    if not folder.is_dir():
        raw = folder / "raw"
        command = [sys.executable, "-m", "volseg"]
        subprocess.run(
            [*command, "phantom", str(raw), "--cases", "3", "--days", "2", "--full-size"], check=True
        )
        subprocess.run([*command, "prepare", str(raw), "--out", str(folder / "prepared")], check=True)
    return folder / "prepared"


def rate(batches: Iterator[dict[str, Any]], seconds: float) -> float:
    """Patches a second, after the first batches, which include the start."""
    for _ in range(3):
        next(batches)
    begun, patches = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds or not patches:
        patches += len(next(batches)["image"])
    return patches / (time.perf_counter() - begun)


def streams(
    dataset: Dataset, patch: Sequence[int], folder: Path
) -> dict[str, Callable[[], Iterator[dict[str, Any]]]]:
    samples = [sample for sample in dataset.samples if sample.labels]
    linked = Dataset(folder, dataset.facts)
    for name in ("images", "labels"):
        (folder / name).symlink_to((dataset.folder / name).absolute())
    vary = build_augmentation(AUGMENT, patch=patch, foreground=FOREGROUND)
    rows = {
        f"ours{named}": TrainingPatches(ScanCache(LoadScan(linked, Data(cache=cache)), samples), vary, seed=0)
        for named, cache in (("", "memory"), (", files", "disk"))
    }
    files = [
        {
            **{f"image{n}": str(dataset.folder / file) for n, file in enumerate(one.images)},
            **{f"label{n}": str(dataset.folder / one.labels[c]) for n, c in enumerate(dataset.classes)},
        }
        for one in samples
    ]  # fmt: skip
    single, four = (chain(files[0], patch, number) for number in (1, 4))
    plain = {
        "plain": Plain(files, single),
        "plain x4": Plain(files, four),
        "cached": CacheDataset(files, single, progress=False, num_workers=2),
    }
    ways: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {}
    for where, workers in (("one process", 0), ("one beside", 1)):
        for name, source in plain.items():
            size = 1 if name == "plain x4" else BATCH
            ways[f"{name} ({where})"] = lambda s=source, b=size, w=workers: iter(
                DataLoader(s, b, sampler=_Endless(len(s)), num_workers=w,
                           collate_fn=list_data_collate)
            )  # fmt: skip
        for name, row in rows.items():
            ways[f"{name} ({where})"] = lambda r=row, w=workers: iter(
                load_batches(r, batch=BATCH, steps=range(10**6), threads=w, device=CPU)
            )
    return ways


def chain(file: dict[str, str], patch: Sequence[int], samples: int) -> mt.Compose:
    """What MONAI's tutorials do, with our probabilities."""
    images = [key for key in file if key.startswith("image")]
    labels = [key for key in file if key.startswith("label")]
    both, a = ("image", "label"), AUGMENT
    return mt.Compose([
        mt.LoadImaged(list(file)),
        mt.EnsureChannelFirstd(list(file)),
        mt.ConcatItemsd(images, "image"),
        mt.ConcatItemsd(labels, "label"),
        mt.DeleteItemsd(list(file)),
        mt.Orientationd(both, axcodes="LPI"),
        mt.Spacingd(both, pixdim=(-1, -1, -1), mode=("bilinear", "nearest")),
        mt.ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0, 1, clip=True),
        mt.SpatialPadd(both, patch),
        mt.RandCropByPosNegLabeld(
            both, "label", patch, pos=FOREGROUND, neg=1 - FOREGROUND, num_samples=samples
        ),
        *(mt.RandFlipd(both, 0.5, spatial_axis="xyz".index(axis)) for axis in a.flip),
        mt.RandAffined(
            both,
            prob=SPATIAL,
            rotate_range=(0, 0, a.degrees[2] / 57.3),
            scale_range=(a.scale,) * 3,
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        ),
        mt.RandScaleIntensityd("image", factors=a.contrast, prob=OFTEN),
        mt.RandShiftIntensityd("image", offsets=a.brightness, prob=OFTEN),
        mt.RandGaussianNoised("image", std=a.noise, prob=OFTEN),
        mt.EnsureTyped(both, track_meta=False),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
