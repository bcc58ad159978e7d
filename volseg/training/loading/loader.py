"""Training batches: random patches of cached scans that depend only on the seed and the position in the run.

Patch i of a run is the same whatever the device, the number of threads and ranks, and wherever the run was
resumed.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from monai.transforms import Compose, Randomizable

from volseg.training.augmentation.drawn_patch import DrawnPatch
from volseg.training.loading.device_batches import Batch, BatchCutter, PreparedPatch
from volseg.training.loading.packed_crop import PackedCrop
from volseg.training.loading.patch_errors import told_with_place
from volseg.training.loading.scan_cache import ScanCache

AHEAD = 2  # batches that threads prepare before they are asked for


class TrainingPatches:
    """The endless sequence of training patches; each pass goes once through all scans.

    `reach` is the network's along z, in slices.
    """

    def __init__(self, scans: ScanCache, augmentation: Compose, *, seed: int, reach: int = 0) -> None:
        self.scans = scans
        self.augmentation = augmentation
        self.seed = seed
        self.reach = reach
        self._drawing = Lock()  # the transforms hold the random numbers of the patch in work

    def draw(self, position: int) -> DrawnPatch:
        """What is drawn for the patch at a position; its scan is read if it is not cached."""
        scan = self.scans[self.scan_index(position)]
        state = np.random.RandomState(np.random.SFC64([self.seed, 1, position]))
        with self._drawing:
            for step in self.augmentation.transforms:  # one stream for all: seeding each takes longer
                if isinstance(step, Randomizable):
                    step.set_random_state(state=state)
            drawn: DrawnPatch = self.augmentation(scan)
        return drawn

    def scan_index(self, position: int) -> int:
        """The index of the scan that this patch is cut from."""
        epoch, place = divmod(position, len(self.scans))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.scans))
        return int(order[place])


@dataclass(frozen=True)
class PreparePatch:
    """The processor's part of a patch: the draw, and the copy of its packed crop for another device."""

    patches: TrainingPatches
    batch: int
    device: torch.device

    def __call__(self, position: int) -> PreparedPatch:
        """The patch at a position.

        Raises:
            UserError: the scan can't be read, or memory ran out.
        """
        number = self.patches.scan_index(position)
        name = self.patches.scans.names[number]
        with told_with_place(f"{name}, step {position // self.batch}"):
            drawn = self.patches.draw(position)
            box = drawn.frame.source_box(drawn.scan.shape)
            if self.patches.scans.on_device is not None:
                return PreparedPatch(position, name, drawn, box, number)
            crop = PackedCrop.from_scan(drawn.scan).window(box)
            if self.device.type != "cpu":
                crop = crop.copied(pinned=self.device.type == "cuda")
            return PreparedPatch(position, name, drawn, box, number, crop)


def load_batches(
    patches: TrainingPatches,
    *,
    batch: int,
    steps: range,
    threads: int,
    device: torch.device,
    share: tuple[int, int] = (0, 1),
) -> Generator[Batch]:
    """The batches of these steps, on the device and ready for its current stream.

    `image` is float32 (B, C, X, Y, Z), `label` uint8 (B, K, X, Y, Z) with 0, 1 or IGNORE, `position` (B,)
    lies on the CPU, `name` lists the scans; for what a teacher says see BatchCutter. A `share` (rank, ranks)
    has every N-th patch of a batch; together the ranks have exactly the patches of a single one. Threads
    prepare patches ahead; to close the iterator ends them.

    Raises:
        UserError: a scan can't be read, or memory ran out.
    """
    rank, ranks = share
    shares = ([step * batch + place for place in range(rank, batch, ranks)] for step in steps)
    scans = patches.scans
    cutter = BatchCutter(device, scans.on_device, reach=patches.reach, taught=scans.taught)
    prepare = PreparePatch(patches, batch, device)
    with closing(_prepare_batches(prepare, shares, threads)) as prepared:
        yield from cutter.cut_batches(prepared)


def _prepare_batches(
    prepare: Callable[[int], PreparedPatch], shares: Iterator[list[int]], threads: int
) -> Generator[list[PreparedPatch]]:
    """The prepared patches of each batch, in order; closing this ends the threads."""
    if not threads:
        yield from ([prepare(position) for position in share] for share in shares)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="patches")
    waiting: deque[list[Future[PreparedPatch]]] = deque()
    try:
        for share in shares:
            waiting.append([pool.submit(prepare, position) for position in share])
            if len(waiting) > AHEAD:
                yield [patch.result() for patch in waiting.popleft()]
        while waiting:
            yield [patch.result() for patch in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def default_threads(cores: int, *, gpu: bool) -> int:
    """Threads that prepare patches, where the config has no number.

    None on a CPU: its cores are busy with the network, and patches are cut by all of them between steps.
    """
    return min(4, max(2, cores - 1)) if gpu else 0
