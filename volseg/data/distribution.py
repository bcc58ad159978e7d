"""The distribution of a quantity over scans or cases."""

from collections.abc import Iterable

import numpy as np

from volseg.formatting import format_number
from volseg.schema import Section


class Spread(Section):
    """Percentiles of a quantity over `count` scans or cases; `p5` is the 5th."""

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
        """The spread of at least one value."""
        numbers = np.array(list(values), dtype=np.float64)
        percentiles = np.percentile(numbers, (0, 5, 25, 50, 75, 95, 100)).tolist()
        names = ("low", "p5", "p25", "median", "p75", "p95", "high")
        return cls(count=numbers.size, **dict(zip(names, percentiles, strict=True)))


def format_spread(spread: Spread, unit: str = "", *, ends: bool = False) -> str:
    """The median with the 5th and 95th percentile, or with lowest and highest value: 503 ml (210–890)."""
    low, high = (spread.low, spread.high) if ends else (spread.p5, spread.p95)
    middle = f"{format_number(spread.median)} {unit}".rstrip()
    first, last = format_number(low), format_number(high)
    return middle if first == last else f"{middle} ({first}–{last})"
