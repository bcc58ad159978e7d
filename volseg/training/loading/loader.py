"""Batches for training: a random draw from cached scans that depends only on seed and position.

Item i of a run is the same patch whatever the number of workers and processes, and wherever the run
was resumed.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Randomizable
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from volseg.training.loading.scan_cache import ScanCache
from volseg.training.loading.workers import WorkerFailure, WorkerTable, init_worker

Batch = dict[str, Any]


class TrainingPatches:
    """An endless, indexable row of training patches; pass k goes once through all scans."""

    def __init__(self, scans: ScanCache, augmentation: Compose, *, seed: int) -> None:
        self.scans = scans
        self.augmentation = augmentation
        self.seed = seed
        self.table = WorkerTable()

    def __getitem__(self, position: int) -> Batch:
        """The patch at this position of the run: `image`, `label`, the scan's `name`, `position`."""
        number = self.scan_index(position)
        state = np.random.RandomState(np.random.SFC64([self.seed, 1, position]))
        for step in self.augmentation.transforms:  # one stream for all: seeding each takes longer
            if isinstance(step, Randomizable):
                step.set_random_state(state=state)
        item = self.augmentation(self.scans[number])
        return {**item, "name": self.scans.names[number], "position": position}

    def scan_index(self, position: int) -> int:
        """The number of the scan that this patch is of."""
        turn, place = divmod(position, len(self.scans))
        order = np.random.default_rng([self.seed, turn]).permutation(len(self.scans))
        return int(order[place])


class _TrackedPatches(Dataset[Batch | WorkerFailure]):
    """Patches, each written into the shared table before it is begun; a failure becomes an item."""

    def __init__(self, patches: TrainingPatches, batch: int) -> None:
        self.patches = patches
        self.batch = batch

    def __getitem__(self, position: int) -> Batch | WorkerFailure:
        worker, step = get_worker_info(), position // self.batch
        scan = self.patches.scan_index(position)
        number = worker.id if worker else 0
        self.patches.table.enter(number, process=os.getpid(), step=step, scan=scan)
        try:
            return self.patches[position]
        except Exception as error:  # it is raised again by the training process
            return WorkerFailure.from_exception(error, f"{self.patches.scans.names[scan]}, step {step}")


class _StepSampler(Sampler[list[int]]):
    """The positions of each step's patches that fall to one rank."""

    def __init__(self, steps: range, batch: int, *, rank: int, ranks: int) -> None:
        self.steps, self.batch = steps, batch
        self.share = range(rank, batch, ranks)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            yield [step * self.batch + place for place in self.share]

    def __len__(self) -> int:
        return len(self.steps)


class BatchLoader:
    """The batches of some steps, in order."""

    def __init__(self, source: "DataLoader[Any]") -> None:
        self._source = source

    def __len__(self) -> int:
        """How many."""
        return len(self._source)

    def __iter__(self) -> Iterator[Batch]:
        """Each a dict of stacked `image`, `label` and `position`, and the list `name`.

        Raises:
            UserError: a scan's file is damaged, or memory ran out.
        """
        for batch in self._source:
            if isinstance(batch, WorkerFailure):
                raise batch.to_exception()
            yield batch


def build_loader(
    patches: TrainingPatches, *, batch: int, steps: range, workers: int, rank: int = 0, ranks: int = 1
) -> BatchLoader:
    """The batches of these steps, or what falls to one of several ranks of each.

    Together the ranks have exactly the patches that one alone would have.
    """
    source = DataLoader(
        _TrackedPatches(patches, batch),
        batch_sampler=_StepSampler(steps, batch, rank=rank, ranks=ranks),
        num_workers=workers,
        collate_fn=_collate_patches,
        generator=torch.Generator(),  # else each start draws from the one that dropout draws from
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=2 if workers else None,
        worker_init_fn=init_worker if workers else None,
    )
    return BatchLoader(source)


def _collate_patches(items: list[Batch | WorkerFailure]) -> Batch | WorkerFailure:
    """One batch of several patches, or the first failure among them."""
    patches = []
    for item in items:
        if isinstance(item, WorkerFailure):
            return item
        patches.append(item)
    try:
        stacked = {key: _shared_tensor(np.stack([p[key] for p in patches])) for key in ("image", "label")}
    except RuntimeError as error:  # shared memory that is full
        return WorkerFailure.from_exception(error, f"a batch from {patches[0]['name']}")
    position = torch.tensor([patch["position"] for patch in patches])
    return {**stacked, "position": position, "name": [patch["name"] for patch in patches]}


def _shared_tensor(array: Any) -> torch.Tensor:
    """As a tensor, in a worker already in the memory that it shares with the training process."""
    tensor = torch.from_numpy(array)
    if get_worker_info():
        tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor


def default_workers(cores: int, *, gpu: bool) -> int:
    """Processes that cut patches, where the config doesn't say.

    None on a CPU: the cores are busy with the network, and a worker that takes turns with it costs more
    than cutting in between (benchmarks/waiting.py).
    """
    return min(8, max(1, cores - 1)) if gpu else 0
