"""What one organ of one scan looks like in a few numbers, of a truth as of a prediction."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.arrays import bounding_box

Mask = npt.NDArray[np.bool_]
SPECK = 0.01
"""A part counts from this share of the organ on."""


@dataclass(frozen=True)
class MaskFeatures:
    """`intensity` is the median, 0 and 1 being the image's levels (None of an empty mask).

    `parts` are 26-connected; `cut` names the ends of the scan that the organ touches.
    """

    volume_ml: float
    border_mm2: float
    parts: int
    intensity: float | None
    cut: tuple[str, ...]


def compute_features(
    mask: Mask, image: npt.NDArray[Any], spacing_mm: tuple[float, float, float], levels: tuple[float, float]
) -> MaskFeatures:
    """Look at a mask and its image, both (X, Y, Z)."""
    box = bounding_box(mask)
    organ = mask[box]
    if not organ.size:
        return MaskFeatures(0.0, 0.0, 0, None, ())
    low, high = levels
    median = float(np.median(image[box][organ]))
    return MaskFeatures(
        volume_ml=np.count_nonzero(organ) * math.prod(spacing_mm) / 1000,
        border_mm2=_border_mm2(organ, spacing_mm),
        parts=_count_components(organ),
        intensity=(median - low) / ((high - low) or 1.0),
        cut=tuple(_touched_ends(mask)),
    )


def _border_mm2(organ: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """The area of the voxels' faces between organ and no organ."""
    padded = np.pad(organ, 1)
    area = 0.0
    for axis, thick in enumerate(spacing_mm):
        face = math.prod(spacing_mm) / thick
        one, next_one = (np.moveaxis(padded, axis, 0)[end] for end in (slice(1, None), slice(-1)))
        area += face * np.count_nonzero(one != next_one)
    return area


def _count_components(organ: Mask) -> int:
    import cc3d

    parts = cc3d.connected_components(np.pad(organ, 1), connectivity=26)
    sizes = np.bincount(parts[1:-1, 1:-1, 1:-1][organ])[1:]
    return int(np.count_nonzero(sizes >= SPECK * sizes.sum()))


def _touched_ends(mask: Mask) -> Iterator[str]:
    if mask[:, :, 0].any():
        yield "the first slice"
    if mask[:, :, -1].any():
        yield "the last slice"
    if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        yield "a side of the slices"
