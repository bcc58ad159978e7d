"""Plots of lines: how values change over steps or days."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from volseg import formatting
from volseg.visualization import svg
from volseg.visualization.row_charts import ticks_below
from volseg.visualization.scan_charts import FOOT, RIGHT, TOP, axis_left, left_margin
from volseg.visualization.svg import Scale

END = 14
"""Room for the half of the last tick's words."""


class ScatterGroup(NamedTuple):
    """A dot a pair: (expected, found, what is told when a reader points at it), and their colour."""

    points: Sequence[tuple[float, float, str]]
    kind: str


def scatter_plot(groups: Sequence[ScatterGroup], *, expected: str, found: str, label: str) -> str:
    """What was found, upwards, against what was expected; on the line both are the same.

    Raises:
        ValueError: no pair at all.
    """
    values = [value for group in groups for x, y, _ in group.points for value in (x, y)]
    high = Scale.from_values(values, start=FOOT, end=TOP)
    left = left_margin(high)
    wide = Scale(high.low, high.high, left, RIGHT - END)
    same = svg.line(wide(high.low), high(high.low), wide(high.high), high(high.high), kind="axis")
    clouds = (
        svg.dots([(wide(x), high(y), told) for x, y, told in group.points], kind=f"dots {group.kind}")
        for group in groups
    )
    return svg.drawing(
        FOOT + 38,
        *axis_left(high, left, unit=found),
        *ticks_below(wide, FOOT, unit=expected, top=TOP),
        same,
        *clouds,
        label=label,
    )


MANY = 24
"""Of longer lines the points have no dots."""
END = 14
"""Room for the half of the last tick's words."""


class LineSeries(NamedTuple):
    """A line's name, its points (x, y), its colour, and whether it is dashed."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: str
    dashed: bool = False

    @property
    def finite_points(self) -> list[tuple[float, float]]:
        """The points whose values are numbers."""
        return [(x, y) for x, y in self.points if math.isfinite(y)]


def line_chart(lines: Sequence[LineSeries], *, across: str, unit: str, label: str, zero: bool = False) -> str:
    """Lines over one axis, which counts `across`; "" where no value is a number.

    Dashed and plain lines differ by more than their colours; the plain ones lie below.
    """
    points = [point for line in lines for point in line.finite_points]
    if not points:
        return ""
    high = Scale.from_values([y for _, y in points], start=FOOT, end=TOP, zero=zero)
    left = left_margin(high)
    wide = Scale.from_values([x for x, _ in points], start=left, end=RIGHT - END)
    drawn = [mark for line in lines for mark in _series_marks(line, wide, high)]
    return svg.drawing(
        FOOT + 38,
        *axis_left(high, left, unit=unit),
        *ticks_below(wide, FOOT, unit=across, top=TOP),
        *drawn,
        label=f"{label}. {describe_lines(lines, across)}",
    )


def _series_marks(line: LineSeries, wide: Scale, high: Scale) -> list[str]:
    placed = [(wide(x), high(y)) for x, y in line.finite_points]
    if not placed:
        return []
    kind = f"curve {line.kind}{' dashed' if line.dashed else ''}"
    hints = [
        f"{line.name}, {formatting.format_number(x)}: {formatting.format_number(y)}"
        for x, y in line.finite_points
    ]
    marks = [(x, y, hint) for (x, y), hint in zip(placed, hints, strict=True)]
    few = len(placed) <= MANY
    dots = svg.dots(marks, kind=f"{'dots' if few else 'unseen'} {line.kind}", radius=3 if few else 5)
    return [svg.tag("path", *svg.tooltip(line.name), d=svg.path(placed), class_=kind), dots]


def describe_lines(lines: Sequence[LineSeries], across: str) -> str:
    """All lines in words, for those who can't see the plot."""
    return "; ".join(
        f"{line.name}: {_describe_points(line.finite_points, across)}" for line in lines if line.finite_points
    )


def _describe_points(points: Sequence[tuple[float, float]], across: str) -> str:
    (first, begun), (last, ended) = points[0], points[-1]
    if len(points) == 1:
        return f"{formatting.format_number(begun)} at {across} {formatting.format_number(first)}"
    values = [y for _, y in points]
    return (
        f"from {formatting.format_number(begun)} at {across} {formatting.format_number(first)} to {formatting.format_number(ended)} at "
        f"{formatting.format_number(last)}, between {formatting.format_number(min(values))} and {formatting.format_number(max(values))}"
    )
