"""Charts over two axes: lines over steps or days, and pairs of values."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from volseg.formatting import format_number
from volseg.visualization import svg
from volseg.visualization.row_charts import axis_below
from volseg.visualization.scan_charts import FOOT, RIGHT, TOP, axis_left, left_margin
from volseg.visualization.svg import Scale

END = 14  # room for the half of the last tick's words
MANY = 24  # of longer lines the points have no dots


class ScatterGroup(NamedTuple):
    """Pairs as dots (expected, measured, tooltip), and their colour."""

    points: Sequence[tuple[float, float, str]]
    kind: str


def scatter_plot(groups: Sequence[ScatterGroup], *, expected: str, measured: str, label: str) -> Markup:
    """Measured values, upwards, against expected ones; on the line both are the same.

    Raises:
        ValueError: no pair at all.
    """
    values = [value for group in groups for x, y, _ in group.points for value in (x, y)]
    high = Scale.from_values(values, start=FOOT, end=TOP)
    left = left_margin(high)
    wide = Scale(high.low, high.high, left, RIGHT - END)
    clouds = [
        svg.dots([(wide(x), high(y), hint) for x, y, hint in group.points], kind=f"dots {group.kind}")
        for group in groups
    ]
    diagonal = svg.line(wide(high.low), high(high.low), wide(high.high), high(high.high), kind="axis")
    return _draw_axes(wide, high, [diagonal, *clouds], across=expected, unit=measured, label=label)


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

    @property
    def css_classes(self) -> str:
        """Its classes of the style sheet, such as `c0 dashed`."""
        return f"{self.kind} dashed" if self.dashed else self.kind


def line_chart(lines: Sequence[LineSeries], *, across: str, unit: str, label: str, zero: bool = False) -> str:
    """Lines over one axis, which counts `across`; "" where no value is a number.

    The lines that come first lie below.
    """
    points = [point for line in lines for point in line.finite_points]
    if not points:
        return ""
    high = Scale.from_values([y for _, y in points], start=FOOT, end=TOP, zero=zero)
    wide = Scale.from_values([x for x, _ in points], start=left_margin(high), end=RIGHT - END)
    drawn = [mark for line in lines for mark in _series_marks(line, wide, high)]
    words = [
        f"{line.name}: {_describe_points(line.finite_points, across)}" for line in lines if line.finite_points
    ]
    return _draw_axes(wide, high, drawn, across=across, unit=unit, label=f"{label}. {'; '.join(words)}")


def _draw_axes(
    wide: Scale, high: Scale, marks: Sequence[str], *, across: str, unit: str, label: str
) -> Markup:
    """Marks over an axis below (`across`) and one at the left (`unit`)."""
    left = axis_left(high, wide.start, unit=unit)
    return svg.drawing(FOOT + 38, *left, *axis_below(wide, FOOT, unit=across, top=TOP), *marks, label=label)


def _series_marks(line: LineSeries, wide: Scale, high: Scale) -> list[str]:
    marks = [
        (wide(x), high(y), f"{line.name}, {format_number(x)}: {format_number(y)}")
        for x, y in line.finite_points
    ]
    if not marks:
        return []
    few = len(marks) <= MANY
    dots = svg.dots(marks, kind=f"{'dots' if few else 'unseen'} {line.kind}", radius=3 if few else 5)
    stroke = svg.path((x, y) for x, y, _ in marks)
    return [svg.tag("path", *svg.tooltip(line.name), d=stroke, class_=f"curve {line.css_classes}"), dots]


def _describe_points(points: Sequence[tuple[float, float]], across: str) -> str:
    """A line in words, for those who can't see the chart."""
    values = [y for _, y in points]
    (x, y), (last_x, last_y) = (tuple(map(format_number, point)) for point in (points[0], points[-1]))
    if len(points) == 1:
        return f"{y} at {across} {x}"
    low, high = format_number(min(values)), format_number(max(values))
    return f"from {y} at {across} {x} to {last_y} at {last_x}, between {low} and {high}"
