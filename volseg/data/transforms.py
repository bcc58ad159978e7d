"""MONAI transforms from a sample to an augmented training patch.

A training item is a dict: `image` (C, X, Y, Z) float16 and `label` (K, X, Y, Z) uint8 with 0, 1 or
IGNORE. Augmentation is here and nowhere else; to change its order, edit `augmentation`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.transforms import (
    Compose,
    EnsureTyped,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    Randomizable,
    RandScaleIntensityd,
    RandShiftIntensityd,
    Transform,
)

from volseg.data.dataset import Dataset, Sample
from volseg.data.grid import stack
from volseg.data.settings import Augment, Data
from volseg.data.volume import Array
from volseg.errors import UserError
from volseg.masks.labels import IGNORE

Item = dict[str, Any]
POINTS = 4096
"""Voxels remembered for each class of a scan; patches are centred on one of them."""


class LoadScan(Transform):  # type: ignore[misc]
    """Read a scan and its labels onto the network's grid; deterministic, so CacheDataset keeps it."""

    def __init__(self, dataset: Dataset, data: Data) -> None:
        self.dataset = dataset
        self.data = data

    def __call__(self, sample: Sample) -> Item:
        """The whole scan: `image`, `label`, and for each class some of its voxels (`points`)."""
        channels = [self.dataset.image(sample, c) for c in range(len(sample.images))]
        try:
            grid, image = stack(channels, self.data.spacing_mm, self.data.intensity)
        except UserError as error:
            raise UserError(f"{sample.name}: {error}") from error
        label = np.stack([grid.mask(self.dataset.label(sample, c)) for c in self.dataset.classes])
        if self.dataset.facts.exclusive:
            label = first_wins(label)
        points = [_some_points(mask) for mask in label]
        if self.data.below_cut == "ignore":
            label = ignore_below_cut(label)
        return {"image": image.astype(np.float16), "label": label, "points": points}


class CropPatch(Randomizable, Transform):  # type: ignore[misc]
    """Cut a patch: with the probability `foreground` around a voxel of a class drawn at random."""

    def __init__(self, patch: Sequence[int], foreground: float) -> None:
        self.patch = tuple(patch)
        self.foreground = foreground

    def __call__(self, item: Item) -> Item:
        """`image` and `label` cut to the patch, padded with zeros where the scan is smaller."""
        shape = item["image"].shape[1:]
        corner = self._corner(shape, [points for points in item["points"] if len(points)])
        return {key: _cut(item[key], corner, self.patch) for key in ("image", "label")}

    def _corner(self, shape: Sequence[int], points: list[Array]) -> list[int]:
        if points and self.R.random_sample() < self.foreground:
            of_class = points[self.R.randint(len(points))]
            centre = of_class[self.R.randint(len(of_class))]
            jitter = [self.R.randint(-(size // 4), size // 4 + 1) for size in self.patch]
            wanted = [
                int(c) + j - size // 2
                for c, j, size in zip(centre, jitter, self.patch, strict=True)
            ]
        else:
            wanted = [
                self.R.randint(max(1, n - p + 1)) for n, p in zip(shape, self.patch, strict=True)
            ]
        return [
            min(max(w, 0), max(n - size, 0))
            for w, n, size in zip(wanted, shape, self.patch, strict=True)
        ]


class ToFloat(Transform):  # type: ignore[misc]
    """The cut patch as float32, which augmentation and the network expect."""

    def __call__(self, item: Item) -> Item:
        """`image` float32; `label` as it is."""
        return {**item, "image": item["image"].astype(np.float32)}


def patches(
    dataset: Dataset, data: Data, augment: Augment, *, patch: Sequence[int], foreground: float
) -> Compose:
    """The whole way from a Sample to an augmented patch: the first step is cached, the rest drawn."""
    steps = [LoadScan(dataset, data), CropPatch(patch, foreground), ToFloat()]
    plain = EnsureTyped(("image", "label"), track_meta=False)
    return Compose([*steps, *augmentation(augment), plain])


def augmentation(augment: Augment) -> list[Transform]:
    """The random variations in order: spatial ones of image and label, then intensities."""
    both = ("image", "label")
    steps: list[Transform] = [
        RandFlipd(both, prob=0.5, spatial_axis="xyz".index(axis)) for axis in augment.flip
    ]
    if augment.rotate_degrees or augment.scale:
        steps.append(
            RandAffined(
                both,
                prob=augment.spatial_probability,
                rotate_range=(0.0, 0.0, float(np.deg2rad(augment.rotate_degrees))),
                scale_range=(augment.scale,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="reflection",
            )
        )
    often = augment.intensity_probability
    if augment.contrast:
        steps.append(RandScaleIntensityd("image", factors=augment.contrast, prob=often))
    if augment.brightness:
        steps.append(RandShiftIntensityd("image", offsets=augment.brightness, prob=often))
    if augment.noise:
        steps.append(RandGaussianNoised("image", std=augment.noise, prob=often))
    return steps


def first_wins(label: Array) -> Array:
    """Labels (K, X, Y, Z) of 0 and 1 made disjoint: resampling may cut two at exactly one half."""
    taken = np.zeros(label.shape[1:], bool)
    marked = np.zeros_like(label)
    for mask, kept in zip(label, marked, strict=True):
        kept[...] = np.where(taken, 0, mask)
        taken |= mask == 1
    return marked


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


def _cut(array: Array, corner: Sequence[int], patch: Sequence[int]) -> Array:
    window = tuple(slice(start, start + size) for start, size in zip(corner, patch, strict=True))
    cut = array[(slice(None), *window)]
    missing = [size - n for size, n in zip(patch, cut.shape[1:], strict=True)]
    if any(missing):
        return np.pad(cut, [(0, 0), *((m // 2, m - m // 2) for m in missing)])
    return cut.copy()
