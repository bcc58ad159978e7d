"""Features of one class's mask in one scan, labels or prediction: volume, border, parts and intensity."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.arrays import bounding_box

Mask = npt.NDArray[np.bool_]
SPECK = 0.01
"""A part counts from this share of the mask on."""


@dataclass(frozen=True)
class MaskFeatures:
    """`intensity` is the median, 0 and 1 being the image's levels (None of an empty mask).

    `parts` are 26-connected; `cut` names the ends of the scan that the mask touches.
    """

    volume_ml: float
    border_mm2: float
    parts: int
    intensity: float | None
    cut: tuple[str, ...]


def compute_features(
    mask: Mask, image: npt.NDArray[Any], spacing_mm: tuple[float, float, float], levels: tuple[float, float]
) -> MaskFeatures:
    """The features of a mask and its image, both (X, Y, Z), whose `levels` count as 0 and 1."""
    box = bounding_box(mask)
    cropped = mask[box]
    if not cropped.size:
        return MaskFeatures(0.0, 0.0, 0, None, ())
    low, high = levels
    median = float(np.median(image[box][cropped]))
    return MaskFeatures(
        volume_ml=np.count_nonzero(cropped) * math.prod(spacing_mm) / 1000,
        border_mm2=_border_mm2(cropped, spacing_mm),
        parts=_count_components(cropped),
        intensity=(median - low) / ((high - low) or 1.0),
        cut=tuple(_touched_ends(mask)),
    )


def _border_mm2(mask: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """The area in mm² of the voxels' faces between inside and outside."""
    padded = np.pad(mask, 1)
    area = 0.0
    for axis, thickness in enumerate(spacing_mm):
        face = math.prod(spacing_mm) / thickness
        area += face * np.count_nonzero(np.diff(padded, axis=axis))
    return area


def _count_components(mask: Mask) -> int:
    import cc3d

    parts = cc3d.connected_components(np.pad(mask, 1), connectivity=26)
    sizes = np.bincount(parts[1:-1, 1:-1, 1:-1][mask])[1:]
    return int(np.count_nonzero(sizes >= SPECK * sizes.sum()))


def _touched_ends(mask: Mask) -> Iterator[str]:
    if mask[:, :, 0].any():
        yield "the first slice"
    if mask[:, :, -1].any():
        yield "the last slice"
    if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        yield "a side of the slices"
