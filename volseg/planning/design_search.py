"""The search for the largest design that fits into memory and time, in few trials."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ENOUGH = 0.8  # share of the memory or time from which on no larger design is tried
AIM = 0.95  # share of the memory or time that the next design to be tried should use
TRIALS = 7
FIRST_VOXELS = 2 * 48**3
"""Voxels of the first batch that is tried: it fits into any machine that trains at all."""


@dataclass(frozen=True)
class ResourceUse:
    """Memory and time of a design as shares of their limits; above 1 is too much."""

    memory: float
    time: float = 0.0

    @property
    def tighter_share(self) -> float:
        """The larger of the two shares."""
        return max(self.memory, self.time)


def largest_fitting(voxels: Sequence[int], use: Callable[[int], ResourceUse]) -> int | None:
    """The first of designs (voxels of a batch, from large to small) whose use is at most 1.

    Memory and time grow in proportion to voxels, so few designs have to be tried. If even the smallest
    takes too long, it is chosen; None: it needs too much memory.
    """
    too_large, fits = -1, len(voxels)
    known: dict[int, ResourceUse] = {}
    number = next((i for i, n in enumerate(voxels) if n <= FIRST_VOXELS), len(voxels) - 1)
    while len(known) < TRIALS or fits == len(voxels):
        known[number] = used = use(number)
        if used.tighter_share <= 1:
            fits = number
            if used.tighter_share >= ENOUGH:
                break
        else:
            too_large = number
        if fits - too_large <= 1:
            break
        limit = _voxels_at_limit(voxels, known)
        guess = next((i for i, n in enumerate(voxels) if n <= limit), len(voxels) - 1)
        number = min(max(guess, too_large + 1), fits - 1)
    if fits < len(voxels):
        return fits
    smallest = known[len(voxels) - 1]
    return len(voxels) - 1 if smallest.memory <= 1 else None


def _voxels_at_limit(voxels: Sequence[int], known: dict[int, ResourceUse]) -> float:
    """The voxels at which memory or time is used up, on a straight line through the measured designs."""
    measured = sorted((voxels[i], used) for i, used in known.items() if math.isfinite(used.tighter_share))
    if not measured:
        return min(voxels[i] for i in known) / 2
    by_memory = _extrapolate_to_aim([(n, used.memory) for n, used in measured])
    return min(by_memory, _extrapolate_to_aim([(n, used.time) for n, used in measured]))


def _extrapolate_to_aim(points: Sequence[tuple[int, float]]) -> float:
    """The voxels at which the straight line through the two points nearest to 1 reaches AIM."""
    (n, y), *others = sorted(points, key=lambda point: abs(1 - point[1]))
    m, z = others[0] if others else (0, 0.0)
    slope = (y - z) / (n - m)
    return n + (AIM - y) / slope if slope > 0 else math.inf
