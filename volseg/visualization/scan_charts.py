"""Plots with one place for each scan or case, side by side in order of size."""

from collections.abc import Sequence
from typing import NamedTuple

from volseg import formatting
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
    """A case's name, and the value and hint of each of its days."""

    name: str
    days: Sequence[tuple[float, str]]


def percentile_bands(scans: Sequence[ScanPercentiles], *, label: str) -> str:
    """Percentiles of each scan as nested bands, in order of their medians, which are a line."""
    placed = sorted(scans, key=lambda scan: (scan.levels["p50"], scan.name))
    scale = percentile_scale(placed, start=FOOT, end=TOP)
    left = left_margin(scale)
    wide = (RIGHT - left) / len(placed)
    edges = [left + wide * i for i in range(len(placed) + 1)]
    drawn = []
    for index, (low, high) in enumerate(BANDS):
        upper = _step_points(edges, [scale(scan.levels[high]) for scan in placed])
        lower = _step_points(edges, [scale(scan.levels[low]) for scan in placed])
        outline = svg.path([*upper, *reversed(lower)], closed=True)
        drawn.append(svg.tag("path", d=outline, class_=f"band{index}"))
    medians = svg.path(_step_points(edges, [scale(scan.levels["p50"]) for scan in placed]))
    drawn.append(svg.tag("path", d=medians, class_="median"))
    hovers = [
        svg.box(edge, TOP, wide, FOOT - TOP, kind="over", told=_hover_text(scan))
        for edge, scan in zip(edges, placed, strict=False)
    ]
    told = ranking_caption(placed[0].name, len(placed), "scans")
    return svg.drawing(
        FOOT + 26,
        *axis_left(scale, left, unit="voxel value"),
        *drawn,
        *hovers,
        _text_below(left, told),
        label=label,
    )


def percentile_scale(scans: Sequence[ScanPercentiles], *, start: float, end: float) -> Scale:
    """A scale for what the bands show, logarithmic where scans differ much.

    What lies far below all medians is then drawn at its foot.
    """
    tops = [scan.levels["p99.5"] for scan in scans]
    medians = [scan.levels["p50"] for scan in scans]
    lows = [scan.levels["p0.5"] for scan in scans]
    if min(medians) > 0 and max(tops) / min(tops) > svg.LOG_RATIO:
        floor = max(min(medians) / 20, min((low for low in lows if low > 0), default=0.0))
        return Scale.from_values([min(floor, *medians), *tops], start=start, end=end)
    return Scale.from_values([min(0.0, *lows), *tops], start=start, end=end)


def case_ranges(cases: Sequence[CaseValues], *, kind: str, label: str) -> str:
    """A line for each case from its smallest to its largest day, with a dot a day."""
    placed = sorted(cases, key=lambda case: (_case_median(case), case.name))
    scale = Scale.from_values([v for case in placed for v, _ in case.days], start=FOOT, end=TOP, zero=True)
    left = left_margin(scale)
    wide = (RIGHT - left) / len(placed)
    lines, points = [], []
    for index, case in enumerate(placed):
        x = left + wide * (index + 0.5)
        values = [value for value, _ in case.days]
        lines.append(svg.line(x, scale(min(values)), x, scale(max(values)), kind=f"stroke {kind}"))
        points += [(x, scale(value), told) for value, told in case.days]
    told = ranking_caption(placed[0].name, len(placed), "cases")
    dots = svg.dots(points, kind=f"dots {kind}", radius=min(3.0, max(1.8, wide / 3)))
    return svg.drawing(
        FOOT + 26, *axis_left(scale, left, unit="ml"), *lines, dots, _text_below(left, told), label=label
    )


def axis_left(scale: Scale, left: float, *, unit: str) -> list[str]:
    """Ticks at the left, each with a hair line across the plot, and the unit above them."""
    ticks = scale.ticks(28)
    return [
        svg.text(0, 12, unit),
        *(svg.line(left, scale(tick), RIGHT, scale(tick), kind="grid") for tick in ticks),
        *(
            svg.text(left - 6, scale(tick) + 4, formatting.format_number(tick), anchor="end")
            for tick in ticks
        ),
        svg.line(left, FOOT, RIGHT, FOOT, kind="axis"),
    ]


def left_margin(scale: Scale) -> float:
    """Room for the longest tick's words."""
    return 10 + 7.9 * max(len(formatting.format_number(tick)) for tick in scale.ticks(28))


def _text_below(left: float, told: str) -> str:
    return svg.text((left + RIGHT) / 2, FOOT + 20, told, anchor="middle")


def _step_points(edges: Sequence[float], heights: Sequence[float]) -> list[tuple[float, float]]:
    """A line that is level over each scan's place."""
    return [
        point for i, height in enumerate(heights) for point in ((edges[i], height), (edges[i + 1], height))
    ]


def _case_median(case: CaseValues) -> float:
    values = sorted(value for value, _ in case.days)
    return values[len(values) // 2]


def _hover_text(scan: ScanPercentiles) -> str:
    low, median, high = (formatting.format_number(scan.levels[level]) for level in ("p0.5", "p50", "p99.5"))
    return f"{scan.name}: median {median}, 0.5–99.5 %: {low} to {high}"


def ranking_caption(first: str, count: int, noun: str) -> str:
    """What stands below scans or cases that are ranked; the name, where there is one only."""
    return f"{format_number(count)} {noun}, in order of their medians" if count > 1 else first
