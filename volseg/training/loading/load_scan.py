"""Loads a scan for training: on the network's grid, with the points that patches are drawn around."""

import numpy as np
from monai.transforms import Transform

from volseg.arrays import IGNORE
from volseg.config.sections import Data
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.grid import stack_channels
from volseg.data.volume import Array
from volseg.errors import UserError
from volseg.training.loading.packed_scan import PackedScan, first_wins, pack_labels

POINTS = 4096
"""Voxels remembered for each class of a scan; patches are centred on one of them."""


class LoadScan(Transform):  # type: ignore[misc]
    """Read a scan and its labels onto the network's grid: the part that is the same every time."""

    def __init__(self, dataset: Dataset, data: Data) -> None:
        self.dataset = dataset
        self.data = data

    def __call__(self, sample: Sample) -> PackedScan:
        """The whole scan, packed."""
        channels = self.dataset.channels(sample)
        try:
            grid, image = stack_channels(channels, self.data.spacing_mm, self.data.intensity)
        except UserError as error:
            raise UserError(f"{sample.name}: {error}") from error
        label = np.stack([grid.resample_mask(self.dataset.label(sample, c)) for c in self.dataset.classes])
        exclusive = self.dataset.facts.exclusive
        if exclusive:
            label = first_wins(label)
        points = tuple(_sample_points(mask) for mask in label)
        if self.data.below_cut == "ignore":
            label = ignore_below_cut(label)
        spacing_mm = self.data.spacing_mm or grid.oriented_mm
        return PackedScan(image.astype(np.float16), pack_labels(label), points, spacing_mm, exclusive)


def ignore_below_cut(label: Array) -> Array:
    """Mark the slices below the last labelled one (towards the feet: larger Z) as IGNORE."""
    labelled = np.flatnonzero(label.any(axis=(0, 1, 2)))
    marked = label.copy()
    if labelled.size:
        marked[..., labelled[-1] + 1 :] = IGNORE
    return marked


def _sample_points(mask: Array) -> Array:
    """At most POINTS voxels of a mask, spread evenly over it, as int16 (N, 3)."""
    found = np.flatnonzero(mask)
    chosen = found[:: max(1, -(-found.size // POINTS))]
    return np.stack(np.unravel_index(chosen, mask.shape), axis=1).astype(np.int16)
