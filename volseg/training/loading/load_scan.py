"""Loading of a scan onto the network's grid, with voxels for patches to be centred on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volseg.arrays import IGNORE
from volseg.config.sections import Data
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.grid import stack_channels
from volseg.data.preprocessing.intensity_scaling import count_flattened
from volseg.data.volume import Array, Volume
from volseg.errors import UserError
from volseg.training.loading.packed_scan import PackedScan, first_wins, pack_labels
from volseg.training.loading.teacher_maps import HALF, Levels, TeacherMaps, on_network_grid

POINTS = 4096  # voxels of each class of a scan that a patch may be centred on, at most


@dataclass(frozen=True)
class LoadScan:
    """Read a scan, its labels and its teacher's maps onto the network's grid.

    Of a scan without labels every voxel is IGNORE, and patches are centred where the maps have a class.
    """

    dataset: Dataset
    data: Data
    teacher: TeacherMaps | None = None

    def __call__(self, sample: Sample) -> PackedScan:
        """The packed scan."""
        channels = self.dataset.channels(sample)
        try:
            grid, image = stack_channels(channels, self.data.spacing_mm, self.data.intensity)
        except UserError as error:
            raise UserError(f"{sample.name}: {error}") from error
        levels = self.teacher.read(sample.name, channels[0]) if self.teacher else []
        maps = np.stack([on_network_grid(one, grid) for one in levels]) if levels else None
        masks = self._masks(sample, levels)
        flattened = self._flattened_shares(channels, masks)
        label = np.stack([grid.resample_mask(mask) for mask in masks])
        if exclusive := self.dataset.facts.exclusive:
            label = first_wins(label)
        points = tuple(_sample_points(mask) for mask in label)
        if sample.labels is None:
            label = np.full_like(label, IGNORE)
        elif self.data.below_cut == "ignore":
            label = ignore_below_cut(label)
        spacing_mm = self.data.spacing_mm or grid.oriented_mm
        # As in files, in rows along z, in which crops are read.
        stored, packed = image.astype(np.float16, order="C"), np.ascontiguousarray(pack_labels(label))
        return PackedScan(stored, packed, points, spacing_mm, exclusive, flattened, maps)

    def _masks(self, sample: Sample, levels: Sequence[Levels]) -> list[Array]:
        """The labels of each class (X, Y, Z) or, of a scan without labels, where its maps have the class."""
        if sample.labels is None and levels:
            return [one >= HALF for one in levels]
        return [self.dataset.label(sample, name) for name in self.dataset.classes]

    def _flattened_shares(self, channels: Sequence[Volume], masks: Sequence[Array]) -> tuple[float, ...]:
        """The share of each class's voxels that the scaling makes one value, in the channel with the most."""
        voxels = [channel.voxels for channel in channels]
        scaled = [(one, self.data.intensity.levels(one), one.min()) for one in voxels]
        return tuple(
            max(count_flattened(one.T[mask.T], *ends) for one, *ends in scaled)
            / max(1, int(np.count_nonzero(mask)))
            for mask in masks
        )


def ignore_below_cut(label: Array) -> Array:
    """Labels (K, X, Y, Z) with IGNORE in the slices below the last labelled one (feet: larger Z)."""
    labelled = np.flatnonzero(label.any(axis=(0, 1, 2)))
    marked = label.copy()
    if labelled.size:
        marked[..., labelled[-1] + 1 :] = IGNORE
    return marked


def _sample_points(mask: Array) -> Array:
    """At most POINTS voxels of a mask (X, Y, Z), spread evenly over it, as int16 (N, 3)."""
    inside = np.flatnonzero(mask)
    sample = inside[:: max(1, -(-inside.size // POINTS))]
    return np.stack(np.unravel_index(sample, mask.shape), axis=1).astype(np.int16)
