"""Numbers, sizes and lists of names as text."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

THIN = "\u202f"  # a narrow space that does not break
NAMED = 6  # names that a list has at most; the others are counted


def format_number(value: float) -> str:
    """Three digits, or all of whole numbers: 1 234, 56.7, 0.891."""
    if abs(value) >= 99.95:
        return f"{value:,.0f}".replace(",", THIN)
    return f"{value:.3g}"


def format_setting(value: object) -> str:
    """The value of a setting: `0.5`, `500`, `both`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def format_percent(share: float) -> str:
    """A share in [0, 1]: 57 %, 3.1 %, <0.1 %."""
    if 0 < share < 0.001:
        return f"<0.1{THIN}%"
    digits = 1 if 0 < share < 0.0995 else 0
    return f"{100 * share:.{digits}f}{THIN}%"


def format_dimensions(values: Iterable[float]) -> str:
    """A size: 266 × 266 × 144."""
    return f"{THIN}×{THIN}".join(f"{value:.5g}" for value in values)


def format_count(count: int, noun: str) -> str:
    """A number with a noun: 1 scan, 2 scans."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{format_number(count)} {noun}{ending}"


def format_frequencies(counts: Mapping[str, int]) -> str:
    """Names with their numbers, a single name alone: float32 (154), uint8 (41)."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({format_number(count)})" for name, count in counts.items())


def abbreviate_names(names: Sequence[str]) -> str:
    """The first six names, and the number of the others."""
    left = f" and {format_number(len(names) - NAMED)} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + left


AT_MOST = 10  # problems of one kind in a message; the others are counted
_PARTS = re.compile(r"([0-9]+)|([^0-9]+)")


def first_few(problems: Sequence[str], what: str) -> Iterator[str]:
    """The first ten problems, and the number of the others."""
    yield from problems[:AT_MOST]
    if len(problems) > AT_MOST:
        yield f"... and {len(problems) - AT_MOST} more {what}"


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """A sort key by which numbers in names count as numbers, of any length."""
    parts = ((digits.lstrip("0"), digits, text) for digits, text in _PARTS.findall(name))
    return tuple((len(number) if digits else -1, number or text) for number, digits, text in parts)


def format_bytes(count: float) -> str:
    """A size in bytes: `45 MB`, `1.2 GB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"


def format_duration(seconds: float) -> str:
    """A time in seconds: `0.8 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def format_size(size: Sequence[int]) -> str:
    """A size in voxels: `64x64x32`."""
    return "x".join(map(str, size))


def format_ml(volume: float) -> str:
    """A volume in ml, three digits or whole ml."""
    return f"{volume:.0f} ml" if volume >= 100 else f"{volume:.3g} ml"


LISTED = 8
"""Names in a line; the rest are counted."""


def names_by_reason(reasons: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The names that have a reason in common, joined by `join_names`, and that reason."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    for reason, own in names.items():
        yield join_names(own), reason


def join_names(names: Sequence[str]) -> str:
    """The first eight of some names, and the number of the others: `a, b and 3 more`."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
