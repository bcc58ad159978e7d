"""What the data path can feed: milliseconds of the processor and of the device for a batch of patches.

    .venv/bin/python benchmarks/data_path.py [PREPARED] [--device NAME] [--batches N] [--rounds N]

PREPARED is a prepared dataset; by default full-size phantom scans, drawn in patches-benchmark/ unless they
are there. Batches of 4 patches of 192 x 192 x 80 voxels, each with every kind of variation. There is no
network, so what is told is all that a step must wait for at most:

- the processor's own share: the draws, and the copies of the packed crops as they are sent to a GPU, by one
  thread and by two; and the draws alone, which are left where the scans lie on the GPU
- the device's share: unpacking, resampling and grey values, on `--device` (by default the CPU, on all cores)

Milliseconds are wall-clock time, `processor` the time of all threads. Each part is done once before.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from patches import phantom

from volseg.config.sections import Augment, Data
from volseg.data.dataset import Dataset
from volseg.training.augmentation.pipeline import build_augmentation
from volseg.training.loading.device_batches import BatchCutter, PreparedPatch
from volseg.training.loading.load_scan import LoadScan
from volseg.training.loading.loader import PreparePatch, TrainingPatches
from volseg.training.loading.scan_cache import ScanCache

BATCH, PATCH, FOREGROUND = 4, (192, 192, 80), 0.67
EVERYTHING = Augment(
    flip=("x", "y"),
    elastic_mm=4.0,
    spatial_probability=1.0,
    gamma=0.3,
    blur=1.0,
    low_resolution=1.0,
    intensity_probability=1.0,
)
ELSEWHERE = torch.device("meta")  # any device but the CPU, so that crops are copied


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", nargs="?", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", type=int, default=10, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    dataset = Dataset.load(given.prepared or phantom(Path("patches-benchmark")))
    samples = [sample for sample in dataset.samples if sample.labels]
    scans = ScanCache(LoadScan(dataset, Data(cache="memory")), samples)
    bent = EVERYTHING
    for name, augment in (("all", bent), ("no bend", bent.model_copy(update={"elastic_mm": 0.0}))):
        vary = build_augmentation(augment, patch=PATCH, foreground=FOREGROUND)
        measure(name, TrainingPatches(scans, vary, seed=0), torch.device(given.device), given)


def measure(name: str, row: TrainingPatches, device: torch.device, given: argparse.Namespace) -> None:
    """Both shares of one kind of variation."""
    prepare = PreparePatch(row, BATCH, ELSEWHERE)
    positions = range(given.batches * BATCH)
    for threads in (1, 2):
        with ThreadPoolExecutor(threads) as pool:
            tell(
                f"{name}: draws and copies, threads: {threads}",
                lambda: each(pool.map(prepare, positions)),
                given,
            )
    tell(f"{name}: draws alone", lambda: each(map(row.draw, positions)), given)
    pieces = [prepare(position) for position in range(BATCH)]
    tell(f"{name}: on {device}", lambda: cut(pieces, device, given.batches), given)


def each(items: Iterable[object]) -> None:
    """Take all, keep none."""
    for _ in items:
        pass


def cut(patches: list[PreparedPatch], device: torch.device, batches: int) -> None:
    """The device's share of so many batches."""
    each(BatchCutter(device).cut_batches(iter([patches] * batches)))
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def tell(name: str, job: Callable[[], object], given: argparse.Namespace) -> None:
    """Print the milliseconds a batch: the medians of the rounds."""
    job()
    seconds, processor = [], []
    for _ in range(given.rounds):
        began, used = time.perf_counter(), time.process_time()
        job()
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    wall, own = (1000 * statistics.median(one) / given.batches for one in (seconds, processor))
    print(f"{name:40} {wall:7.1f} ms a batch, processor {own:7.1f}", flush=True)


if __name__ == "__main__":
    main()
