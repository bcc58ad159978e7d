"""Plots of pairs on one scale: what was expected, and what was found."""

from collections.abc import Sequence
from typing import NamedTuple

from volseg.visualization import svg
from volseg.visualization.row_charts import ticks_below
from volseg.visualization.scan_charts import FOOT, RIGHT, TOP, axis_left, margin
from volseg.visualization.svg import Scale

END = 14
"""Room for the half of the last tick's words."""


class Pairs(NamedTuple):
    """A dot a pair: (expected, found, what is told when a reader points at it), and their colour."""

    points: Sequence[tuple[float, float, str]]
    kind: str


def scatter(groups: Sequence[Pairs], *, expected: str, found: str, label: str) -> str:
    """What was found, upwards, against what was expected; on the line both are the same.

    Raises:
        ValueError: no pair at all.
    """
    values = [value for group in groups for x, y, _ in group.points for value in (x, y)]
    high = Scale.over(values, start=FOOT, end=TOP)
    left = margin(high)
    wide = Scale(high.low, high.high, left, RIGHT - END)
    same = svg.line(wide(high.low), high(high.low), wide(high.high), high(high.high), kind="axis")
    clouds = (
        svg.dots(
            [(wide(x), high(y), told) for x, y, told in group.points], kind=f"dots {group.kind}"
        )
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
