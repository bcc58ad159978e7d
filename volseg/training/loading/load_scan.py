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

POINTS = 4096  # voxels of each class of a scan that a patch may be centred on, at most


@dataclass(frozen=True)
class LoadScan:
    """Read a scan and its labels onto the network's grid."""

    dataset: Dataset
    data: Data

    def __call__(self, sample: Sample) -> PackedScan:
        """The packed scan."""
        channels = self.dataset.channels(sample)
        try:
            grid, image = stack_channels(channels, self.data.spacing_mm, self.data.intensity)
        except UserError as error:
            raise UserError(f"{sample.name}: {error}") from error
        masks = [self.dataset.label(sample, name) for name in self.dataset.classes]
        flattened = self._flattened_shares(channels, masks)
        label = np.stack([grid.resample_mask(mask) for mask in masks])
        if exclusive := self.dataset.facts.exclusive:
            label = first_wins(label)
        points = tuple(_sample_points(mask) for mask in label)
        if self.data.below_cut == "ignore":
            label = ignore_below_cut(label)
        spacing_mm = self.data.spacing_mm or grid.oriented_mm
        packed = pack_labels(label)
        return PackedScan(image.astype(np.float16), packed, points, spacing_mm, exclusive, flattened)

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
