"""SVG: elements, scales with round ticks, and drawings made of both.

Colours and fonts are left to the page's style sheet, so that a chart follows its light and dark theme.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

WIDTH = 400  # width of a chart in its own units; it is shown at about that many pixels, on a phone too
LOG_RATIO = 100  # values that differ by more than this stand on a logarithmic scale


class Figure(NamedTuple):
    """A chart with its title, how to read it, and what its colours mean: (name, CSS classes) of each."""

    title: str
    chart: str
    caption: str = ""
    keys: Sequence[tuple[str, str]] = ()


def tag(name: str, *children: str, **attributes: object) -> str:
    """An element. In the names of attributes `_` stands for `-`, and a last one is dropped."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_format_value(value)}"'
        for key, value in attributes.items()
        if value not in (None, "")
    )
    inner = "".join(children)
    return f"<{name}{pairs}>{inner}</{name}>" if inner else f"<{name}{pairs}/>"


def _format_value(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(str(value))


def text(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> str:
    """Words at a place; `kind` is a class of the style sheet."""
    at = None if anchor == "start" else anchor
    return tag("text", escape(words), x=float(x), y=float(y), text_anchor=at, class_=kind)


def line(x1: float, y1: float, x2: float, y2: float, *, kind: str) -> str:
    """A straight line."""
    return tag("path", d=path([(x1, y1), (x2, y2)]), class_=kind)


def box(x: float, y: float, width: float, height: float, *, kind: str, hint: str = "") -> str:
    """A rectangle."""
    sizes = {"x": float(x), "y": float(y), "width": float(width), "height": float(height)}
    return tag("rect", *tooltip(hint), **sizes, class_=kind)


def dots(points: Sequence[tuple[float, float, str]], *, kind: str, radius: float = 2.6) -> str:
    """Dots (x, y, tooltip)."""
    circles = (
        tag("circle", *tooltip(hint), cx=float(x), cy=float(y), r=float(radius)) for x, y, hint in points
    )
    return tag("g", *circles, class_=kind)


def tooltip(hint: str) -> list[str]:
    """What browsers show when a reader points at an element."""
    return [tag("title", escape(hint))] if hint else []


def path(points: Iterable[tuple[float, float]], *, closed: bool = False) -> str:
    """The `d` of a line through points."""
    steps = " ".join(f"{_format_value(float(x))},{_format_value(float(y))}" for x, y in points)
    return f"M{steps}{'Z' if closed else ''}"


def drawing(height: float, *marks: str, label: str) -> Markup:
    """A chart of the usual width; `label` says to those who can't see it what it shows."""
    size = f"0 0 {WIDTH} {math.ceil(height)}"
    return Markup(tag("svg", *marks, viewBox=size, role="img", aria_label=label))  # noqa: S704  tag escapes


@dataclass(frozen=True)
class Scale:
    """From values to pixels, linearly or by logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def from_values(cls, values: Iterable[float], *, start: float, end: float, zero: bool = False) -> "Scale":
        """A scale with round ends over these values; a linear one from zero if asked."""
        some = list(values)
        low, high = min(some), max(some)
        if low > 0 and high / low > LOG_RATIO:
            return cls(_round_down(low), high * 1.1, start, end, log=True)
        low = min(low, 0.0) if zero else low
        step = nice_step((high - low) / 5 or abs(high) / 5 or 1.0)
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        return cls(low, high, start, end) if low < high else cls(low - step, high + step, start, end)

    @property
    def span(self) -> float:
        """The difference of both ends' values."""
        return self.high - self.low

    def with_margin(self, share: float) -> "Scale":
        """A scale that is longer by a share at both ends; a logarithmic scale stays as it is."""
        more = 0.0 if self.log else share * self.span
        return replace(self, low=self.low - more, high=self.high + more)

    def __call__(self, value: float) -> float:
        """The pixel of a value; what lies outside is drawn at the end."""
        inside = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / self.span
        return self.start + share * (self.end - self.start)

    def ticks(self, apart: float) -> list[float]:
        """Round values, at least so many pixels apart."""
        length = abs(self.end - self.start)
        if not self.log:
            step = nice_step(self.span * apart / length)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            return [round(i * step, 10) for i in range(first, last + 1)]
        for factors in ((1, 2, 5), (1, 3), (1,)):
            ticks = self._log_ticks(factors)
            pixels = [self(tick) for tick in ticks]
            if all(abs(b - a) >= apart for a, b in pairwise(pixels)):
                return ticks
        return ticks[:: math.ceil(apart / abs(pixels[1] - pixels[0]))]

    def _log_ticks(self, factors: Sequence[int]) -> list[float]:
        """These multiples of powers of ten, as far as they lie on the scale."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [factor * 10.0**power for power in powers for factor in factors]
        return [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]


def nice_step(step: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _round_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= value * (1 + 1e-9))
