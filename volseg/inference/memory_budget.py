"""What predicting takes of the memory: told beforehand, and kept within a limit."""

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.formatting import format_bytes
from volseg.inference.predictor import EnsembleMember, Predictor
from volseg.inference.probability_maps import AT_ONCE
from volseg.inference.sliding_window import AxisTiling
from volseg.model.engines.interface import WeightedWindow
from volseg.system.hardware import free_memory

log = logging.getLogger(__name__)
ROOM = 1.25
"""What the system's allocator holds for each byte that is used."""
AHEAD, ALONE = 8, 4
"""Bytes a voxel of probabilities and masks while one class is cleaned and another reviewed, or one by one."""
CLEANING = 8
"""Bytes that cleaning takes for each voxel of the box around an organ."""
ORGANS = 0.25
"""The share of a scan within a box around one organ, which is what cleaning works on."""


def resident_bytes() -> int:
    """Bytes of memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class MemoryBudget:
    """What the networks of a predictor hold, and what all may hold together, in bytes.

    `told` says whether the user set the limit; else it is what was free.
    """

    predictor: Predictor
    loaded: int
    limit: int
    set_by_user: bool

    @classmethod
    def for_predictor(cls, predictor: Predictor, channels: int, limit: int | None) -> "MemoryBudget":
        """The budget of networks that were just loaded; within a limit they are tried first."""
        if limit is not None:
            warm_up_networks(predictor.members, channels)
        loaded = resident_bytes()
        return cls(predictor, loaded, limit or loaded + free_memory(), limit is not None)

    def peak_bytes(self, channels: Sequence[Volume], *, beside: bool) -> int:
        """Bytes at the peak of predicting a scan; `beside` it the next is read and the last one written."""
        first, classes = channels[0], len(self.predictor.classes)
        image = sum(channel.voxels.nbytes for channel in channels)
        predicting = max(_prediction_bytes(m, first, len(channels), classes) for m in self.predictor.members)
        each = (AHEAD if beside else ALONE) + CLEANING * ORGANS + 4 * self.predictor.exclusive
        finishing = round(each * first.voxels.size)
        together = 3 * image + predicting + finishing if beside else image + max(predicting, finishing)
        return self.loaded + round(ROOM * together)

    def has_room_beside(self, channels: Sequence[Volume]) -> bool:
        """Whether the next scan may be read, and the last one written, while one is predicted."""
        return self.peak_bytes(channels, beside=True) <= self.limit

    def check_scan(self, channels: Sequence[Volume]) -> None:
        """Tell what a scan takes, if a limit was set.

        Raises:
            UserError: more than is allowed.
        """
        peak = self.peak_bytes(channels, beside=self.has_room_beside(channels))
        shape, networks = "x".join(map(str, channels[0].voxels.shape)), format_bytes(self.loaded)
        memory = (
            f"{shape} voxels take about {format_bytes(peak)} of memory, {networks} of it for the networks"
        )
        if self.set_by_user and peak > self.limit:
            raise UserError(f"{memory}; --max-memory allows {format_bytes(self.limit)}")
        if self.set_by_user:
            log.info("%s", memory)

    def largest_box_voxels(self, channels: Sequence[Volume]) -> int | None:
        """Voxels of the largest box that can be cleaned within a limit that was set."""
        if not self.set_by_user:
            return None
        beside = self.has_room_beside(channels)
        left = self.limit - self.peak_bytes(channels, beside=beside)
        return round(ORGANS * channels[0].voxels.size + max(0, left) / (ROOM * CLEANING))


def warm_up_networks(members: Sequence[EnsembleMember], channels: int) -> None:
    """Let each network take the memory that it needs: it predicts windows of zeros."""
    for member in members:
        image = np.zeros((channels, *member.window), np.float32)
        deque(member.network.parts(iter([WeightedWindow(image, image[0])] * 4)), maxlen=0)


def _prediction_bytes(member: EnsembleMember, first: Volume, channels: int, classes: int) -> int:
    """Bytes of a layer of windows: the image twice, the sums and what of them is moved; and the way back."""
    grid = NetworkGrid.from_volume(first, member.data.spacing_mm)
    overlap = member.inference.overlap
    x, y, z = (
        AxisTiling.for_range(slice(0, n), n, window, overlap)
        for n, window in zip(grid.shape, member.window, strict=True)
    )
    layer = z.window * math.prod(side.full_range.stop - side.full_range.start for side in (x, y))
    plane = int(np.prod(grid.oriented_shape[:2]))
    weights = 0 if member.inference.body_box else 8  # of a layer's windows by themselves, and of all
    return int(layer * (8 * channels + 3 * classes + weights) + 24 * max(AT_ONCE, plane))
