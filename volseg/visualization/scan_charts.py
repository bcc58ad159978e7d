"""Charts with one place for each scan or case, side by side in order of size."""

from collections.abc import Sequence
from statistics import median_high
from typing import NamedTuple

from markupsafe import Markup

from volseg.formatting import format_number
from volseg.visualization import svg
from volseg.visualization.svg import Scale

TOP, FOOT, RIGHT = 24.0, 250.0, 396.0
BANDS = (("p0.5", "p99.5"), ("p5", "p95"), ("p25", "p75"))
"""Percentiles between which a band lies, the palest first."""


class ScanPercentiles(NamedTuple):
    """A scan's name and its intensities by level."""

    name: str
    levels: dict[str, float]


class CaseValues(NamedTuple):
    """A case's name, and the value and tooltip of each of its days."""

    name: str
    days: Sequence[tuple[float, str]]


def percentile_bands(scans: Sequence[ScanPercentiles], *, label: str) -> Markup:
    """Percentiles of each scan as nested bands, in order of their medians, which are a line."""
    ranked = sorted(scans, key=lambda scan: (scan.levels["p50"], scan.name))
    scale = percentile_scale(ranked, start=FOOT, end=TOP)
    left = left_margin(scale)
    width = (RIGHT - left) / len(ranked)
    edges = [left + width * i for i in range(len(ranked) + 1)]

    def steps(level: str) -> list[tuple[float, float]]:
        return _step_points(edges, [scale(scan.levels[level]) for scan in ranked])

    bands = [
        svg.tag("path", d=svg.path([*steps(high), *reversed(steps(low))], closed=True), class_=f"band{index}")
        for index, (low, high) in enumerate(BANDS)
    ]
    hovers = [
        svg.box(edge, TOP, width, FOOT - TOP, kind="over", hint=_hover_text(scan))
        for edge, scan in zip(edges, ranked, strict=False)
    ]
    return svg.drawing(
        FOOT + 26,
        *axis_left(scale, left, unit="voxel value"),
        *bands,
        svg.tag("path", d=svg.path(steps("p50")), class_="median"),
        *hovers,
        _ranking_text(left, [scan.name for scan in ranked], "scans"),
        label=label,
    )


def percentile_scale(scans: Sequence[ScanPercentiles], *, start: float, end: float) -> Scale:
    """A scale for what the bands show, logarithmic where scans differ much.

    What lies far below all medians is then drawn at its foot.
    """
    lows, medians, tops = ([scan.levels[level] for scan in scans] for level in ("p0.5", "p50", "p99.5"))
    if min(medians) > 0 and max(tops) / min(tops) > svg.LOG_RATIO:
        floor = max(min(medians) / 20, min((low for low in lows if low > 0), default=0.0))
        return Scale.from_values([min(floor, *medians), *tops], start=start, end=end)
    return Scale.from_values([min(0.0, *lows), *tops], start=start, end=end)


def case_ranges(cases: Sequence[CaseValues], *, kind: str, label: str) -> Markup:
    """A line for each case from its smallest to its largest day, with a dot a day, in ml."""
    ranked = sorted(cases, key=lambda case: (median_high(value for value, _ in case.days), case.name))
    scale = Scale.from_values([v for case in ranked for v, _ in case.days], start=FOOT, end=TOP, zero=True)
    left = left_margin(scale)
    width = (RIGHT - left) / len(ranked)
    lines, points = [], []
    for index, case in enumerate(ranked):
        x = left + width * (index + 0.5)
        values = [value for value, _ in case.days]
        lines.append(svg.line(x, scale(min(values)), x, scale(max(values)), kind=f"stroke {kind}"))
        points += [(x, scale(value), hint) for value, hint in case.days]
    return svg.drawing(
        FOOT + 26,
        *axis_left(scale, left, unit="ml"),
        *lines,
        svg.dots(points, kind=f"dots {kind}", radius=min(3.0, max(1.8, width / 3))),
        _ranking_text(left, [case.name for case in ranked], "cases"),
        label=label,
    )


def axis_left(scale: Scale, left: float, *, unit: str) -> list[str]:
    """Ticks at the left, each with a hair line across the chart, and the unit above them."""
    ticks = [(scale(tick), format_number(tick)) for tick in scale.ticks(28)]
    return [
        svg.text(0, 12, unit),
        *(svg.line(left, y, RIGHT, y, kind="grid") for y, _ in ticks),
        *(svg.text(left - 6, y + 4, number, anchor="end") for y, number in ticks),
        svg.line(left, FOOT, RIGHT, FOOT, kind="axis"),
    ]


def left_margin(scale: Scale) -> float:
    """Room for the longest tick's words."""
    return 10 + 7.9 * max(len(format_number(tick)) for tick in scale.ticks(28))


def _ranking_text(left: float, names: Sequence[str], noun: str) -> str:
    """The order of ranked scans or cases, below them; the name where there is only one."""
    words = f"{format_number(len(names))} {noun}, in order of their medians" if len(names) > 1 else names[0]
    return svg.text((left + RIGHT) / 2, FOOT + 20, words, anchor="middle")


def _step_points(edges: Sequence[float], heights: Sequence[float]) -> list[tuple[float, float]]:
    """A line that is level over each scan's place."""
    return [
        point for i, height in enumerate(heights) for point in ((edges[i], height), (edges[i + 1], height))
    ]


def _hover_text(scan: ScanPercentiles) -> str:
    low, median, high = (format_number(scan.levels[level]) for level in ("p0.5", "p50", "p99.5"))
    return f"{scan.name}: median {median}, 0.5–99.5 %: {low} to {high}"
