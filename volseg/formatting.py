"""Numbers as people read them."""

from collections.abc import Iterable, Mapping, Sequence

from volseg.stats.dataset_stats import Spread

THIN = "\u202f"  # a narrow space that does not break
NAMED = 6
"""So many names are told; of more, how many there are."""


def number(value: float) -> str:
    """Three digits, more for large numbers: 1 234, 56.7, 0.891."""
    if abs(value) >= 99.95:
        return f"{value:,.0f}".replace(",", THIN)
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share of one: 57 %, 3.1 %, <0.1 %."""
    if 0 < share < 0.001:
        return f"<0.1{THIN}%"
    digits = 1 if 0 < share < 0.0995 else 0
    return f"{100 * share:.{digits}f}{THIN}%"


def size(values: Iterable[float]) -> str:
    """266 × 266 × 144."""
    return f"{THIN}×{THIN}".join(f"{value:.5g}" for value in values)


def between(spread: Spread, unit: str = "", *, ends: bool = False) -> str:
    """The median, and from where to where 5–95 % lie (with `ends` all): 503 ml (210–890)."""
    low, high = (spread.low, spread.high) if ends else (spread.p5, spread.p95)
    middle = f"{number(spread.median)} {unit}".rstrip()
    first, last = number(low), number(high)
    return middle if first == last else f"{middle} ({first}–{last})"


def plural(count: int, noun: str) -> str:
    """1 scan, 2 scans."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{number(count)} {noun}{ending}"


def counted(counts: Mapping[str, int]) -> str:
    """What there is, with numbers where it is more than one kind: float32 (154), uint8 (41)."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({number(count)})" for name, count in counts.items())


def listed(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    left = f" and {number(len(names) - NAMED)} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + left


def ranked(first: str, count: int, noun: str) -> str:
    """What stands below scans or cases that are ranked; the name, where there is one only."""
    return f"{number(count)} {noun}, in order of their medians" if count > 1 else first
