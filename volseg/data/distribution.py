"""How one quantity spreads over scans or cases."""

from collections.abc import Iterable

import numpy as np

from volseg.formatting import format_number
from volseg.schema import Section


class Spread(Section):
    """How one quantity spreads over `count` scans or cases; `p5` is its 5th percentile."""

    count: int
    low: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    high: float

    @classmethod
    def from_values(cls, values: Iterable[float]) -> "Spread":
        """Of one value at least."""
        some = np.array(list(values), dtype=np.float64)
        found = np.percentile(some, (0, 5, 25, 50, 75, 95, 100)).tolist()
        names = ("low", "p5", "p25", "median", "p75", "p95", "high")
        return cls(count=some.size, **dict(zip(names, found, strict=True)))


def format_spread(spread: Spread, unit: str = "", *, ends: bool = False) -> str:
    """The median, and from where to where 5–95 % lie (with `ends` all): 503 ml (210–890)."""
    low, high = (spread.low, spread.high) if ends else (spread.p5, spread.p95)
    middle = f"{format_number(spread.median)} {unit}".rstrip()
    first, last = format_number(low), format_number(high)
    return middle if first == last else f"{middle} ({first}–{last})"
