"""Batches for training: cached scans, and a random draw that depends only on seed and position.

Item i of a run is the same patch whatever the number of workers and wherever the run was resumed.
"""

import math
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, list_data_collate
from monai.transforms import Compose
from torch.utils.data import DataLoader, Dataset, Sampler

from volseg.data.dataset import Sample
from volseg.data.grid import Spacing
from volseg.errors import UserError
from volseg.machine import cores, free_memory

CACHE_SHARE = 0.5
"""Share of the free memory that cached scans may take."""
BYTES_A_VOXEL = 2
"""Of a cached channel (float16); a class takes 1."""


def cache_rate(
    samples: Sequence[Sample],
    classes: int,
    *,
    spacing_mm: Spacing | None = None,
    free: int | None = None,
) -> float:
    """The share of scans whose loaded form fits into CACHE_SHARE of the free memory.

    `spacing_mm` is that of the network's grid, by default each scan's own.
    """
    budget = CACHE_SHARE * (free_memory() if free is None else free)
    return min(1.0, budget / max(needed(samples, classes, spacing_mm=spacing_mm), 1))


def needed(samples: Sequence[Sample], classes: int, *, spacing_mm: Spacing | None = None) -> int:
    """Bytes of these scans as they are cached, on a grid of `spacing_mm` (None: each scan's own)."""
    return sum(
        round(
            math.prod(one.shape)
            * math.prod(one.spacing_mm)
            / math.prod(spacing_mm or one.spacing_mm)
            * (BYTES_A_VOXEL * len(one.images) + classes)
        )
        for one in samples
    )


@contextmanager
def user_errors() -> Iterator[None]:
    """Bring out the UserError that MONAI, or a worker process, has wrapped into its own error.

    Raises:
        UserError: the body failed by one.
    """
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, UserError):
            cause = cause.__cause__
        told = re.search(r"volseg\.errors\.UserError: (.*)", str(error))  # a worker sends only text
        if cause or told:
            raise UserError(str(cause) if cause else told[1]) from error  # type: ignore[index]
        raise


class Patches(Dataset[dict[str, Any]]):
    """An endless, indexable row of training patches; pass k goes once through all scans."""

    def __init__(
        self, samples: Sequence[Sample], transform: Compose, *, rate: float, seed: int
    ) -> None:
        self.count = len(samples)
        self.seed = seed
        self.cache = CacheDataset(
            samples,
            transform,
            cache_rate=rate,
            num_workers=cores(),
            progress=False,
            copy_cache=False,
        )

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The patch at this position of the run."""
        turn, place = divmod(index, self.count)
        order = np.random.default_rng([self.seed, turn]).permutation(self.count)
        draw = int(np.random.default_rng([self.seed, 1, index]).integers(2**31))
        self.cache.transform.set_random_state(seed=draw)
        item: dict[str, Any] = self.cache[int(order[place])]
        return item


class _From(Sampler[int]):
    def __init__(self, start: int, stop: int) -> None:
        self.positions = range(start, stop)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)

    def __len__(self) -> int:
        return len(self.positions)


def loader(patches: Patches, *, batch: int, first_step: int, steps: int, workers: int) -> Any:
    """Batches of the steps from `first_step` up to `steps`; each is a dict of stacked tensors."""
    return DataLoader(
        patches,
        batch_size=batch,
        sampler=_From(first_step * batch, steps * batch),
        num_workers=workers,
        collate_fn=list_data_collate,
        generator=torch.Generator(),  # else each start draws from the one that dropout draws from
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=2 if workers else None,
        worker_init_fn=_leave_interrupts_to_the_parent if workers else None,
    )


def _leave_interrupts_to_the_parent(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
