"""How often each probability of one class occurs inside and outside its mask: all that confidence needs.

256 levels are few, so another calibration is another table of 256 values, not another look at the scan.
"""

from collections.abc import Iterator
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
"""The most places that anybody is told to look at."""
REACH = 2
"""Slices on either side of a peak that may be told with it; the next is twice as far away at least."""
LIKE_PEAK, WORTH = 0.75, 0.5
"""The share of a peak from which a neighbour belongs to it; that of the highest from which a peak counts."""


@dataclass(frozen=True, eq=False)
class ProbabilityHistogram:
    """`by_slice` (Z, 2, 256) counts the voxels outside (0) and inside (1) a mask by their probability.

    `table` is always what each of the 256 levels is worth as a probability.
    """

    by_slice: Counts

    @classmethod
    def from_probability(cls, probability: Bytes, mask: Mask) -> "ProbabilityHistogram":
        """Of an 8-bit probability and a mask, both (X, Y, Z)."""
        x, y, slices = bounding_box(mask)
        organ = mask[x, y, slices].transpose(2, 1, 0).copy()  # a slice in one piece
        counts = np.zeros((mask.shape[2], 2, LEVELS), np.int64)
        within = np.zeros(mask.shape[1::-1], bool)
        for z in range(mask.shape[2]):
            within[y, x] = organ[z - slices.start] if slices.start <= z < slices.stop else False
            levels = probability[:, :, z].T.ravel()
            told = np.flatnonzero(levels != 0)  # few, which is faster than to count them all
            sides = levels[told] + LEVELS * within.ravel()[told]
            counts[z] = np.bincount(sides, minlength=2 * LEVELS).reshape(2, LEVELS)
            inside = np.count_nonzero(within)
            counts[z, :, 0] = within.size - inside, inside
            counts[z, :, 0] -= counts[z, :, 1:].sum(axis=1)
        return cls(counts)

    @cached_property
    def total_counts(self) -> Counts:
        """Of all slices together, (2, 256)."""
        return np.asarray(self.by_slice.sum(axis=0))

    @property
    def squared_sum(self) -> float:
        """The sum over all voxels of their squared probability, as it was told."""
        return float(self.total_counts.sum(axis=0) @ (np.arange(LEVELS) / (LEVELS - 1)) ** 2)

    def expected_errors(self, table: Floats) -> Floats:
        """For each slice how many voxels are expected to be on the wrong side of the mask's border, (Z,)."""
        return np.asarray(self.by_slice[:, 0] @ table + self.by_slice[:, 1] @ (1 - table))


def expected_dice(counts: Counts, table: Floats, missed: float = 0.0) -> float:
    """The Dice that the probabilities expect of their mask, from its counts (2, 256); NaN of an empty mask.

    `missed` is the share of the organ that lies where the probability is 0.
    """
    mask = counts[1].sum()
    if not mask:
        return float("nan")
    organ = float(counts.sum(axis=0) @ table) / (1 - missed)
    return float(2 * (counts[1] @ table) / (mask + organ))


def total_entropy(counts: Counts, table: Floats) -> float:
    """The entropy of all voxels, in bits, from counts (2, 256)."""
    p = table.clip(1e-12, 1 - 1e-12)
    bits = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    return float(counts.sum(axis=0) @ np.where((table > 0) & (table < 1), bits, 0))


def worst_slices(wrong: Floats) -> list[tuple[int, int]]:
    """Where most is expected to be wrong: ranges of slices (first, last), the worst first, from (Z,)."""
    return list(_error_peaks(wrong.copy()))


def _error_peaks(left: Floats) -> Iterator[tuple[int, int]]:
    highest = left.max(initial=0)
    for _ in range(SHOWN):
        peak = int(left.argmax()) if left.size else 0
        if not left.size or left[peak] <= WORTH * highest or not highest:
            return
        first, last = (_peak_end(left, peak, step) for step in (-1, 1))
        left[max(0, peak - 2 * REACH) : peak + 2 * REACH + 1] = 0
        yield first, last


def _peak_end(wrong: Floats, peak: int, step: int) -> int:
    """The last slice that belongs to a peak, going this way."""
    end = peak
    while abs(end + step - peak) <= REACH and 0 <= end + step < len(wrong):
        if wrong[end + step] < LIKE_PEAK * wrong[peak]:
            break
        end += step
    return end
