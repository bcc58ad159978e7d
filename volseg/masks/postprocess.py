"""Cleaning: what turns the probability of one class of one scan into its mask, step by step.

A step looks at an `Evidence` and returns a new mask. Parts are 26-connected in 3D, so a mask that is
joined over an edge or a corner is one part; sizes are in mm³, never in voxels.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, PositiveInt

from volseg.errors import nearest
from volseg.masks.crop import Box, bounding_box
from volseg.schema import Choice, Section

Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
INNER = (slice(1, -1),) * 3
ROUNDING = 1e-6  # NIfTI keeps voxel sizes as float32


@dataclass(frozen=True)
class Evidence:
    """What a step may look at: one class of one scan on its native grid, all (X, Y, Z).

    `mask` is what the steps before left, `probability` has 8 bits (255 is certain; of exclusive
    classes, 128 and more say that none is likelier), `image` is the first channel as the scan stores it.
    """

    mask: Mask
    probability: Bytes
    image: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def start(
        cls,
        probability: Bytes,
        *,
        image: npt.NDArray[Any],
        spacing_mm: tuple[float, float, float],
    ) -> "Evidence":
        """Evidence before the first step: its mask is where the probability is at least one half."""
        return cls(at_least(probability, 0.5), probability, image, spacing_mm)

    @property
    def voxel_mm3(self) -> float:
        """The volume of one voxel in mm³."""
        return math.prod(self.spacing_mm)


class Threshold(Section):
    """Start anew with the voxels whose probability is at least `value`; belongs first."""

    name: Literal["threshold"] = "threshold"
    value: float = Field(default=0.5, gt=0, le=1)
    only: tuple[str, ...] = ()

    def __call__(self, evidence: Evidence) -> Mask:
        """The new mask."""
        return at_least(evidence.probability, self.value)


class DropSmall(Section):
    """Drop every part smaller than `min_mm3`."""

    name: Literal["drop_small"] = "drop_small"
    min_mm3: PositiveFloat
    only: tuple[str, ...] = ()

    def __call__(self, evidence: Evidence) -> Mask:
        """The new mask, a subset of the old."""
        smallest = self.min_mm3 * (1 - ROUNDING) / evidence.voxel_mm3
        return _keep_parts(evidence.mask, lambda sizes: sizes >= smallest)


class KeepLargest(Section):
    """Keep the `k` largest parts, and those as large as the last of them: ties are not decided by place.

    Right for a stomach, wrong for bowel, which has many parts.
    """

    name: Literal["keep_largest"] = "keep_largest"
    k: PositiveInt = 1
    only: tuple[str, ...] = ()

    def __call__(self, evidence: Evidence) -> Mask:
        """The new mask, a subset of the old."""
        return _keep_parts(evidence.mask, lambda sizes: sizes >= np.sort(sizes)[-self.k :][0])


class FillHoles(Section):
    """Fill every hole: background that no path over voxel faces joins to the border of the scan."""

    name: Literal["fill_holes"] = "fill_holes"
    only: tuple[str, ...] = ()

    def __call__(self, evidence: Evidence) -> Mask:
        """The new mask, a superset of the old."""
        import cc3d

        if not evidence.mask.any():
            return evidence.mask
        box = bounding_box(evidence.mask)
        outside = np.pad(~evidence.mask[box], 1, constant_values=True)
        around = cc3d.connected_components(outside, connectivity=6)
        filled = around[INNER] != around[0, 0, 0]  # the corner is outside; label 0 is the mask
        return _placed(filled, box, evidence.mask.shape)


Step = Annotated[Threshold | DropSmall | KeepLargest | FillHoles, Choice()]


def clean(evidence: Evidence, steps: Sequence[Step], class_name: str) -> Mask:
    """The mask after every step that applies to this class, in order; bool (X, Y, Z)."""
    for step in steps:
        if not step.only or class_name in step.only:
            evidence = dataclasses.replace(evidence, mask=step(evidence))
    return evidence.mask


def disjoint(claims: Iterable[tuple[Bytes, Mask]], shape: Sequence[int]) -> Iterator[Mask]:
    """Masks of exclusive classes, from each one's 8-bit probability and cleaned mask, (X, Y, Z).

    Where several masks claim a voxel, the class with the highest probability has it, of equals the
    first. So an organ that lies in a hole of another is not lost when the hole is filled. Memory
    does not grow with the number of classes.
    """
    owner = np.zeros(shape, np.uint16)
    strongest = np.zeros(shape, np.uint8)
    count = 0
    for count, (probability, mask) in enumerate(claims, start=1):
        won = mask & ((owner == 0) | (probability > strongest))
        owner[won] = count
        strongest[won] = probability[won]
    for number in range(1, count + 1):
        yield owner == number


def unknown_classes(steps: Sequence[Step], classes: Sequence[str]) -> Iterator[str]:
    """One line for each class named in `only` that the data does not have: such a step would do nothing."""
    for position, step in enumerate(steps):
        for name in step.only:
            if name not in classes:
                hint = nearest(name, classes) or f" (classes: {', '.join(classes)})"
                yield f"postprocess.{position}.only: no class '{name}'{hint}"


def at_least(probability: Bytes, value: float) -> Mask:
    """Where an 8-bit probability is at least `value`, which lies in (0, 1]."""
    return probability >= np.uint8(math.ceil(value * 255 - ROUNDING))


def _keep_parts(mask: Mask, wanted: Callable[[npt.NDArray[np.int64]], Mask]) -> Mask:
    """The parts for which `wanted` says so, given the voxel counts of all parts."""
    import cc3d

    if not mask.any():
        return mask
    box = bounding_box(mask)
    # padded, because cc3d 4.1 raises "maximum length exception" on [1, 0, 1] and other small odd sizes
    parts = cc3d.connected_components(np.pad(mask[box], 1), connectivity=26)[INNER]
    sizes = cc3d.statistics(parts, no_slice_conversion=True)["voxel_counts"].astype(np.int64)
    keep = np.concatenate(([False], wanted(sizes[1:])))
    return _placed(keep[parts], box, mask.shape)


def _placed(inside: Mask, box: Box, shape: tuple[int, ...]) -> Mask:
    """A mask of this shape that is empty outside the box."""
    mask = np.zeros(shape, dtype=bool)
    mask[box] = inside
    return mask
