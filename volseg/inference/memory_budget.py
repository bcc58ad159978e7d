"""The memory that inference takes: an estimate for each scan, and the limit of --max-memory."""

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
from volseg.inference.tiling import WIDE_ABOVE, Tiling
from volseg.model.engines.interface import Layer, WeightedWindow
from volseg.system.hardware import free_memory

log = logging.getLogger(__name__)
ROOM = 1.25
"""Bytes that the system's allocator holds for each byte in use."""
AHEAD, ALONE = 8, 4
"""Bytes a voxel of probabilities and masks: one class cleaned while another is reviewed, or one by one."""
CLEANING = 8
"""Bytes that post-processing takes for each voxel of the box around a class."""
BOX_SHARE = 0.25
"""The share of a scan within the box around one class, on which post-processing works."""


def resident_bytes() -> int:
    """Bytes of memory that this process holds (its resident set)."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class MemoryBudget:
    """The bytes that a predictor's loaded networks hold, and the limit for all of inference.

    The limit is --max-memory where it is `set_by_user`, else the memory that was free.
    """

    predictor: Predictor
    loaded: int
    limit: int
    set_by_user: bool

    @classmethod
    def for_predictor(cls, predictor: Predictor, channels: int, limit: int | None) -> "MemoryBudget":
        """The budget of networks that were just loaded; under a limit they are run once to measure them."""
        if limit is not None:
            warm_up_networks(predictor.all_members, channels)
        loaded = resident_bytes()
        return cls(predictor, loaded, limit or loaded + free_memory(), limit is not None)

    def peak_bytes(self, channels: Sequence[Volume], *, beside: bool) -> int:
        """Bytes at the peak of predicting a scan, the next being read and the last written `beside` it."""
        first, classes = channels[0], self.predictor.most_classes
        image = sum(channel.voxels.nbytes for channel in channels)
        predicting = max(
            _prediction_bytes(m, first, len(channels), classes) for m in self.predictor.all_members
        )
        each = (AHEAD if beside else ALONE) + CLEANING * BOX_SHARE + 4 * self.predictor.exclusive
        finishing = round(each * first.voxels.size)
        together = 3 * image + predicting + finishing if beside else image + max(predicting, finishing)
        return self.loaded + round(ROOM * together)

    def has_room_beside(self, channels: Sequence[Volume]) -> bool:
        """Whether the next scan may be read, and the last one written, while this one is predicted."""
        return self.peak_bytes(channels, beside=True) <= self.limit

    def check_scan(self, channels: Sequence[Volume]) -> None:
        """Log the memory that a scan takes if the user set a limit, and refuse a scan above it."""
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
        """Voxels of the largest box that can be post-processed within the user's limit; None without."""
        if not self.set_by_user:
            return None
        left = self.limit - self.peak_bytes(channels, beside=self.has_room_beside(channels))
        return round(BOX_SHARE * channels[0].voxels.size + max(0, left) / (ROOM * CLEANING))


def warm_up_networks(members: Sequence[EnsembleMember], channels: int) -> None:
    """Run each network on windows of zeros, so that it takes the memory that it needs."""
    for member in members:
        image = member.network.arrays.upload(np.zeros((channels, *member.window), np.float32))
        parts = member.network.parts(iter([WeightedWindow(image, image[0])] * 4))
        layers = (Layer(0, part.steps, part.total) for part in parts)
        deque(member.network.arrays.download(layers), maxlen=0)


def _prediction_bytes(member: EnsembleMember, first: Volume, channels: int, classes: int) -> int:
    """Bytes of a layer of windows (the image twice, the sums and a copy of a part) and of resampling back."""
    grid = NetworkGrid.from_volume(first, member.data.spacing_mm)
    overlap = member.inference.overlap
    full = slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2])
    layer = math.prod(Tiling(grid.shape, full, member.window, overlap, reach=member.reach).layer_shape)
    plane = int(np.prod(grid.oriented_shape[:2]))
    weights = 0 if member.inference.body_box else 8  # of a layer's windows by themselves, and of all
    sums = 10 if overlap > WIDE_ABOVE else 3
    return int(layer * (8 * channels + sums * classes + weights) + 24 * max(AT_ONCE, plane))
