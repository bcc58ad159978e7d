"""From a scan to an augmented training patch, as MONAI transforms.

The order stands here and nowhere else; to change it, edit `augmentation`. A training item is a dict:
`image` float32 (C, X, Y, Z) and `label` uint8 (K, X, Y, Z) with 0, 1 or IGNORE.
"""

from collections.abc import Sequence

import numpy as np
from monai.transforms import Compose, Transform

from volseg.config.sections import Augment, Data
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.grid import stack
from volseg.data.volume import Array
from volseg.errors import UserError
from volseg.masks.labels import IGNORE
from volseg.training.augmentation.intensity import (
    Blur,
    Brightness,
    Contrast,
    Gamma,
    LowResolution,
    Noise,
)
from volseg.training.augmentation.spatial import Bend, Cut, Flip, PlacePatch, RotateZoom
from volseg.training.loading.packed_scan import Packed, first_wins, pack

POINTS = 4096
"""Voxels remembered for each class of a scan; patches are centred on one of them."""


class LoadScan(Transform):  # type: ignore[misc]
    """Read a scan and its labels onto the network's grid: the part that is the same every time."""

    def __init__(self, dataset: Dataset, data: Data) -> None:
        self.dataset = dataset
        self.data = data

    def __call__(self, sample: Sample) -> Packed:
        """The whole scan, packed."""
        channels = [self.dataset.image(sample, c) for c in range(len(sample.images))]
        try:
            grid, image = stack(channels, self.data.spacing_mm, self.data.intensity)
        except UserError as error:
            raise UserError(f"{sample.name}: {error}") from error
        label = np.stack([grid.mask(self.dataset.label(sample, c)) for c in self.dataset.classes])
        exclusive = self.dataset.facts.exclusive
        if exclusive:
            label = first_wins(label)
        points = tuple(_some_points(mask) for mask in label)
        if self.data.below_cut == "ignore":
            label = ignore_below_cut(label)
        spacing_mm = self.data.spacing_mm or grid.oriented_mm
        return Packed(image.astype(np.float16), pack(label), points, spacing_mm, exclusive)


def augmentation(augment: Augment, *, patch: Sequence[int], foreground: float) -> Compose:
    """All that is drawn for a patch, in order: its place, its shape, then its grey values."""
    sometimes, often = augment.spatial_probability, augment.intensity_probability
    turned = augment.scale or any(augment.degrees)
    steps: list[tuple[object, Transform]] = [
        (True, PlacePatch(patch, foreground)),
        (augment.flip, Flip(augment.flip)),
        (turned, RotateZoom(augment.degrees, augment.scale, sometimes)),
        (augment.elastic_mm, Bend(augment.elastic_mm, sometimes)),
        (True, Cut()),
        (augment.gamma, Gamma(augment.gamma, often)),
        (augment.blur, Blur(augment.blur, often)),
        (augment.low_resolution, LowResolution(augment.low_resolution, often)),
        (augment.contrast, Contrast(augment.contrast, often)),
        (augment.brightness, Brightness(augment.brightness, often)),
        (augment.noise, Noise(augment.noise, often)),
    ]
    return Compose([step for wanted, step in steps if wanted])


def ignore_below_cut(label: Array) -> Array:
    """Mark the slices below the last labelled one (towards the feet: larger Z) as IGNORE."""
    labelled = np.flatnonzero(label.any(axis=(0, 1, 2)))
    marked = label.copy()
    if labelled.size:
        marked[..., labelled[-1] + 1 :] = IGNORE
    return marked


def _some_points(mask: Array) -> Array:
    """At most POINTS voxels of a mask, spread evenly over it, as int16 (N, 3)."""
    found = np.flatnonzero(mask)
    chosen = found[:: max(1, -(-found.size // POINTS))]
    return np.stack(np.unravel_index(chosen, mask.shape), axis=1).astype(np.int16)
