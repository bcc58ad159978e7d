"""The search for the largest design that fits into memory and time, in few trials."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from types import MappingProxyType

ENOUGH = 0.8  # share of the memory or time from which on no larger design is tried
AIM = 0.95  # share of the memory or time that the next design to be tried should use
TRIALS = 7  # at most
FLATTEST = 1 / 8
"""The least share of a step's memory or time, of a design near the limit, that grows with its voxels."""
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


NOTHING: Mapping[int, ResourceUse] = MappingProxyType({})


def largest_fitting(
    voxels: Sequence[int],
    use: Callable[[int], ResourceUse],
    *,
    is_over: Callable[[], bool] = lambda: False,
    first: int | None = None,
    known: Mapping[int, ResourceUse] = NOTHING,
    trials: int = TRIALS,
) -> int | None:
    """The first of designs (voxels of a batch, from large to small) whose use is at most 1.

    Memory and time grow in proportion to voxels, so few designs have to be tried, `first` (by default one
    that surely fits) first unless some are `known`. Once `is_over`, what fits is taken; where nothing does,
    the smallest is tried last, and next after one that took too long to be measured. If even that takes too
    long, it is chosen; None: it needs too much memory.
    """
    known, smallest = dict(known), len(voxels) - 1
    fits = min((i for i, used in known.items() if used.tighter_share <= 1), default=len(voxels))
    too_large = max((i for i in known if i < fits), default=-1)
    first = first_to_try(voxels) if first is None else first
    while fits - too_large > 1:
        left = 0 if is_over() else trials - len(known)
        if fits <= smallest and (left < 1 or known[fits].tighter_share >= ENOUGH):
            break
        guess = guess_largest(voxels, [(voxels[i], used) for i, used in known.items()]) if known else first
        number = min(max(guess, too_large + 1), fits - 1)
        too_slow = any(math.isinf(used.time) for used in known.values())
        if known and fits > smallest and (left <= 1 or too_slow):
            number = smallest
        known[number] = use(number)
        if known[number].tighter_share <= 1:
            fits = number
        else:
            too_large = number
    if fits <= smallest:
        return fits
    return smallest if known[smallest].memory <= 1 else None


def first_to_try(voxels: Sequence[int]) -> int:
    """The largest design that fits into any machine that trains at all."""
    return next((i for i, n in enumerate(voxels) if n <= FIRST_VOXELS), len(voxels) - 1)


def guess_largest(voxels: Sequence[int], known: Sequence[tuple[int, ResourceUse]]) -> int:
    """The largest design that will fit by what is known of some numbers of voxels; at worst the smallest."""
    limit = _voxels_at_limit(known)
    return next((i for i, n in enumerate(voxels) if n <= limit), len(voxels) - 1)


def _voxels_at_limit(known: Sequence[tuple[int, ResourceUse]]) -> float:
    """The voxels at which memory or time is used up, by the measured designs."""
    measured = [(n, used) for n, used in known if math.isfinite(used.tighter_share)]
    failed = min((n for n, used in known if not math.isfinite(used.tighter_share)), default=math.inf)
    if not measured:
        return failed / 2
    by_memory = UseLine.through([(n, used.memory) for n, used in measured]).voxels_at(AIM)
    by_time = UseLine.through([(n, used.time) for n, used in measured]).voxels_at(AIM)
    return min(by_memory, by_time, failed - 1)


@dataclass(frozen=True)
class UseLine:
    """What a step takes (a share of a limit, or seconds) by the voxels of its batch: a straight line.

    It goes through the measured point nearest to 1, with the median of the slopes between all points. That is
    kept between what the point has for each voxel, as a step without voxels takes no less than nothing, and
    FLATTEST of it: measurements beside other programs may even fall with more voxels.
    """

    voxels: int
    value: float
    slope: float

    @classmethod
    def through(cls, points: Sequence[tuple[int, float]]) -> "UseLine":
        """The line through measured points (voxels, value)."""
        n, value = min(points, key=lambda point: abs(1 - point[1]))
        steepest = value / n
        slopes = [(b - a) / (m - k) for (k, a), (m, b) in combinations(points, 2) if m != k]
        slope = median(slopes) if slopes else steepest
        if slope <= 0:
            slope = steepest
        return cls(n, value, min(max(slope, FLATTEST * steepest), steepest))

    def voxels_at(self, value: float) -> float:
        """The voxels that take so much; infinite where voxels take nothing."""
        return self.voxels + (value - self.value) / self.slope if self.slope > 0 else math.inf

    def value_at(self, voxels: int) -> float:
        """What so many voxels take."""
        return self.value + self.slope * (voxels - self.voxels)
