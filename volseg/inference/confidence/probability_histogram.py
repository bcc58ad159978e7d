"""Histogram of one class's probabilities inside and outside its mask, from which confidence is computed.

There are 256 levels, so another calibration is another table of 256 values and no voxel is read again.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from volseg.arrays import bounding_box

Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LEVELS = 256
SHOWN = 3
"""The most ranges of slices to check."""
REACH = 2
"""Slices on either side of a peak that may be in its range; the next peak is more than twice as far away."""
LIKE_PEAK, WORTH = 0.75, 0.5
"""The share of a peak from which a neighbour belongs to it; that of the highest from which a peak counts."""


@dataclass(frozen=True, eq=False)
class ProbabilityHistogram:
    """Numbers of voxels by slice, outside (0) or inside (1) the mask, and level of probability, (Z, 2, 256).

    In this module `table` is always the probability that each of the 256 levels stands for, (256,).
    """

    by_slice: Counts

    @classmethod
    def from_probability(cls, probability: Bytes, mask: Mask) -> "ProbabilityHistogram":
        """The histogram of an 8-bit probability and a mask, both (X, Y, Z)."""
        x, y, slices = bounding_box(mask)
        cropped = mask[x, y, slices].transpose(2, 1, 0).copy()  # a slice in one piece
        counts = np.zeros((mask.shape[2], 2, LEVELS), np.int64)
        within = np.zeros(mask.shape[1::-1], bool)
        for z in range(mask.shape[2]):
            within[y, x] = cropped[z - slices.start] if slices.start <= z < slices.stop else False
            levels = probability[:, :, z].T.ravel()
            some = np.flatnonzero(levels != 0)  # few, which is faster than to count them all
            sides = levels[some] + LEVELS * within.ravel()[some]
            counts[z] = np.bincount(sides, minlength=2 * LEVELS).reshape(2, LEVELS)
            inside = np.count_nonzero(within)
            counts[z, :, 0] = within.size - inside, inside
            counts[z, :, 0] -= counts[z, :, 1:].sum(axis=1)
        return cls(counts)

    @cached_property
    def total_counts(self) -> Counts:
        """The counts of all slices together, (2, 256)."""
        return np.asarray(self.by_slice.sum(axis=0))

    @property
    def squared_sum(self) -> float:
        """The sum over all voxels of their squared probability, without calibration."""
        return float(self.total_counts.sum(axis=0) @ (np.arange(LEVELS) / (LEVELS - 1)) ** 2)

    def expected_errors(self, table: Floats) -> Floats:
        """The expected number of voxels on the wrong side of the mask's border by slice, (Z,)."""
        return np.asarray(self.by_slice[:, 0] @ table + self.by_slice[:, 1] @ (1 - table))


def total_entropy(counts: Counts, table: Floats) -> float:
    """The sum of all voxels' entropies in bits, from counts (2, 256)."""
    p = table.clip(1e-12, 1 - 1e-12)
    bits = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    return float(counts.sum(axis=0) @ np.where((table > 0) & (table < 1), bits, 0))


def worst_slices(errors: Floats) -> list[tuple[int, int]]:
    """Ranges of slices (first, last) with the most expected errors (Z,), the worst first."""
    rest, highest = errors.copy(), errors.max(initial=0)
    ranges: list[tuple[int, int]] = []
    while len(ranges) < SHOWN and rest.max(initial=0) > WORTH * highest:
        peak = int(rest.argmax())
        ranges.append((_peak_end(rest, peak, -1), _peak_end(rest, peak, 1)))
        rest[max(0, peak - 2 * REACH) : peak + 2 * REACH + 1] = 0
    return ranges


def _peak_end(errors: Floats, peak: int, step: int) -> int:
    """The last slice that belongs to a peak in the direction of the step, -1 or 1."""
    end = peak
    while abs(end + step - peak) <= REACH and 0 <= end + step < len(errors):
        if errors[end + step] < LIKE_PEAK * errors[peak]:
            break
        end += step
    return end
