"""Training batches: random patches of cached scans that depend only on the seed and the position in the run.

Patch i of a run is the same whatever the number of workers and ranks, and wherever the run was resumed.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Randomizable
from torch.utils.data import DataLoader, Dataset, get_worker_info

from volseg.training.loading.scan_cache import ScanCache
from volseg.training.loading.workers import WorkerTable, init_worker, portable_error

Batch = dict[str, Any]


class TrainingPatches:
    """The endless, indexable sequence of training patches; each pass goes once through all scans."""

    def __init__(self, scans: ScanCache, augmentation: Compose, *, seed: int) -> None:
        self.scans = scans
        self.augmentation = augmentation
        self.seed = seed
        self.table = WorkerTable()

    def __getitem__(self, position: int) -> Batch:
        """The patch at a position: `image` (C, X, Y, Z), `label` (K, X, Y, Z), `name` and `position`."""
        number = self.scan_index(position)
        state = np.random.RandomState(np.random.SFC64([self.seed, 1, position]))
        for step in self.augmentation.transforms:  # one stream for all: seeding each takes longer
            if isinstance(step, Randomizable):
                step.set_random_state(state=state)
        item = self.augmentation(self.scans[number])
        return {**item, "name": self.scans.names[number], "position": position}

    def scan_index(self, position: int) -> int:
        """The index of the scan that this patch is cut from."""
        epoch, place = divmod(position, len(self.scans))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.scans))
        return int(order[place])


class _TrackedPatches(Dataset[Batch | Exception]):
    """Patches, each entered into the shared table before it is cut; an exception becomes an item."""

    def __init__(self, patches: TrainingPatches, batch: int) -> None:
        self.patches = patches
        self.batch = batch

    def __getitem__(self, position: int) -> Batch | Exception:
        worker, step = get_worker_info(), position // self.batch
        scan = self.patches.scan_index(position)
        number = worker.id if worker else 0
        self.patches.table.enter(number, process=os.getpid(), step=step, scan=scan)
        try:
            return self.patches[position]
        except Exception as error:  # the training process raises it again
            return portable_error(error, f"{self.patches.scans.names[scan]}, step {step}")


def load_batches(
    patches: TrainingPatches, *, batch: int, steps: range, workers: int, rank: int = 0, ranks: int = 1
) -> Iterator[Batch]:
    """The batches of these steps, or one rank's share: stacked `image`, `label`, `position`, and `name`.

    Together the ranks have exactly the patches of a single one.

    Raises:
        UserError: a scan's file is damaged, or memory ran out.
    """
    loader = DataLoader(
        _TrackedPatches(patches, batch),
        batch_sampler=([step * batch + place for place in range(rank, batch, ranks)] for step in steps),
        num_workers=workers,
        collate_fn=_collate_patches,
        generator=torch.Generator(),  # else each start draws from the one that dropout draws from
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=2 if workers else None,
        worker_init_fn=init_worker if workers else None,
    )
    for item in loader:
        if isinstance(item, Exception):
            raise item
        yield item


def _collate_patches(items: list[Batch | Exception]) -> Batch | Exception:
    """A batch of several patches, or the first exception among them."""
    patches = []
    for item in items:
        if isinstance(item, Exception):
            return item
        patches.append(item)
    try:
        stacked = {key: _shared_tensor(np.stack([p[key] for p in patches])) for key in ("image", "label")}
    except RuntimeError as error:  # shared memory that is full
        return portable_error(error, f"a batch from {patches[0]['name']}")
    position = torch.tensor([patch["position"] for patch in patches])
    return {**stacked, "position": position, "name": [patch["name"] for patch in patches]}


def _shared_tensor(array: Any) -> torch.Tensor:
    """An array as a tensor, in a worker already in the memory shared with the training process."""
    tensor = torch.from_numpy(array)
    if get_worker_info():
        tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor


def default_workers(cores: int, *, gpu: bool) -> int:
    """Processes that cut patches, where the config has no number.

    None on a CPU: its cores are busy with the network, and a worker that takes turns with the network
    costs more time than to cut patches in between (benchmarks/waiting.py).
    """
    return min(8, max(1, cores - 1)) if gpu else 0
