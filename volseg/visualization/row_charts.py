"""Charts with one row for each class or axis, all on one scale below them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from volseg.data.distribution import Spread
from volseg.formatting import format_count, format_number
from volseg.visualization import svg
from volseg.visualization.svg import Scale

LEFT, RIGHT = 12.0, 384.0
HEAD, BODY, GAP = 19.0, 34.0, 13.0
"""Heights in pixels: the words above a row, its marks, and what is left below."""
FEW = 6  # so many values are shown as they are, with no box around them
CLOUD, RULE = 24.0, 29.0  # height of a cloud of dots, and where the line of its percentiles lies below
EXACT, APART = 12, 20.0  # so many different values have a bar each; pixels between two numbers above bars
CROWD = 120  # dots are smaller where there are more than this
CHARACTER = 8.4  # width of a character in pixels, at the size for phones


class ChartRow(NamedTuple):
    """A row: its name, what stands at its right, its values, a tooltip for each, and its colour."""

    name: str
    value_text: str
    values: Sequence[float]
    hints: Sequence[str] = ()
    kind: str = ""

    @classmethod
    def by_scan(
        cls, name: str, text: str, values: Mapping[str, float], show: Callable[[float], str], kind: str
    ) -> "ChartRow":
        """A row of values by scan, whose tooltips tell scan and value."""
        hints = [f"{scan}: {show(value)}" for scan, value in values.items()]
        return cls(name, text, list(values.values()), hints, kind)


class Span(NamedTuple):
    """From where to where a class reaches in a scan."""

    start: float
    end: float


def strip_plots(
    rows: Sequence[ChartRow], *, unit: str, label: str, zero: bool = True, scale: Scale | None = None
) -> Markup:
    """A dot a value, with quartiles, 5th and 95th percentile below; on a scale over all if none is given."""
    values = [value for row in rows for value in row.values]
    scale = scale or Scale.from_values(values, start=LEFT, end=RIGHT, zero=zero)
    return _draw_rows(rows, scale, lambda i, top: _strip_marks(rows[i], top, scale), unit=unit, label=label)


def histograms(rows: Sequence[ChartRow], *, unit: str, label: str) -> Markup:
    """How many values lie where; numbers above bars where there are few."""
    values = [value for row in rows for value in row.values]
    scale = Scale.from_values(values, start=LEFT, end=RIGHT).with_margin(0.04)
    return _draw_rows(
        rows, scale, lambda i, top: _histogram_bars(rows[i].values, top, scale), unit=unit, label=label
    )


def share_bars(rows: Sequence[ChartRow], spreads: Sequence[Spread], *, unit: str, label: str) -> Markup:
    """A bar from 0 to 100 % for each row's one value, and a line from the 5th to the 95th percentile."""
    scale = Scale(0, 100, LEFT, RIGHT)

    def bar(index: int, top: float) -> list[str]:
        row, spread, middle = rows[index], spreads[index], top + 8
        low, high = scale(100 * spread.p5), scale(100 * spread.p95)
        return [
            svg.box(LEFT, top, RIGHT - LEFT, 16, kind="track"),
            svg.box(LEFT, top, scale(100 * row.values[0]) - LEFT, 16, kind=f"solid {row.kind}"),
            svg.line(low, middle, high, middle, kind="halo"),
            svg.line(low, middle, high, middle, kind="median"),
        ]

    return _draw_rows(rows, scale, bar, unit=unit, label=label, body=16)


def presence_profiles(
    rows: Sequence[ChartRow], spans: Sequence[Sequence[Span]], *, unit: str, label: str
) -> Markup:
    """In how many scans a class is at each place: full height in all of them."""
    ends = [end for row in spans for span in row for end in span]
    scale = Scale.from_values(ends, start=LEFT, end=RIGHT, zero=True)

    def area(index: int, top: float) -> list[str]:
        return _presence_area(rows[index].kind, spans[index], top, scale)

    return _draw_rows(rows, scale, area, unit=unit, label=label)


def _draw_rows(
    rows: Sequence[ChartRow],
    scale: Scale,
    marks: Callable[[int, float], list[str]],
    *,
    unit: str,
    label: str,
    body: float = BODY,
) -> Markup:
    """Rows of marks over one axis; the label ends with all rows in words."""
    step = HEAD + body + GAP
    foot = step * len(rows) - GAP + 7
    drawn = []
    for index, row in enumerate(rows):
        top = index * step
        drawn += [
            svg.text(0, top + 12, shorten_name(row.name, beside=row.value_text), kind="name"),
            svg.text(svg.WIDTH, top + 12, row.value_text, anchor="end", kind="small"),
            *marks(index, top + HEAD),
        ]
    words = "; ".join(f"{row.name}: {row.value_text}" for row in rows)
    axis = axis_below(scale, foot, unit=unit, top=HEAD)
    return svg.drawing(foot + 38, *axis, *drawn, label=f"{label}. {words}")


def axis_below(scale: Scale, foot: float, *, unit: str, top: float) -> list[str]:
    """The axis below a chart, with a hair line up to `top` at each tick."""
    ticks = [(scale(tick), format_number(tick)) for tick in scale.ticks(58)]
    return [
        *(svg.line(x, top, x, foot, kind="grid") for x, _ in ticks),
        svg.line(scale.start, foot, scale.end, foot, kind="axis"),
        *(svg.text(x, foot + 15, number, anchor="middle") for x, number in ticks),
        svg.text((scale.start + scale.end) / 2, foot + 33, unit, anchor="middle"),
    ]


def _strip_marks(row: ChartRow, top: float, scale: Scale) -> list[str]:
    if not row.values:
        return []
    radius = 2.0 if len(row.values) > CROWD else 2.7
    cloud = svg.dots(_jittered_dots(row, top, scale), kind=f"dots {row.kind}", radius=radius)
    if len(row.values) < FEW:
        return [cloud]
    spread, y = Spread.from_values(row.values), top + RULE
    left, right, middle = scale(spread.p25), scale(spread.p75), scale(spread.median)
    return [
        cloud,
        svg.line(scale(spread.p5), y, scale(spread.p95), y, kind="whisker"),
        svg.box(left, y - 2.5, right - left, 5, kind="box"),
        svg.line(middle, y - 5, middle, y + 5, kind="median"),
    ]


def _jittered_dots(row: ChartRow, top: float, scale: Scale) -> list[tuple[float, float, str]]:
    """Dots side by side, the wider the more there are near; the same values give the same cloud."""
    hints = row.hints or [""] * len(row.values)
    placed = sorted(zip(map(scale, row.values), hints, strict=True))
    near = Counter(round(x / 5) for x, _ in placed)
    most, middle = max(near.values()), top + CLOUD / 2
    return [
        (x, middle + (_van_der_corput(i) - 0.5) * (CLOUD - 4) * (near[round(x / 5)] - 1) / most, hint)
        for i, (x, hint) in enumerate(placed, start=1)
    ]


def _van_der_corput(index: int) -> float:
    """Van der Corput's sequence in base 2: evenly between 0 and 1, with no number generator."""
    share, part = 0.0, 0.5
    while index:
        share, index, part = share + part * (index % 2), index // 2, part / 2
    return share


def _histogram_bars(values: Sequence[float], top: float, scale: Scale) -> list[str]:
    bins = _bin_counts(values, scale)
    room = BODY - 14 if len(bins) <= FEW else BODY
    width = 5.0 if len(bins) <= EXACT else max(scale(svg.nice_step(scale.span / 60)) - scale(0.0) - 1, 3.0)
    most, base = max(bins.values()), top + BODY
    drawn = [svg.line(LEFT, base, RIGHT, base, kind="hair")]
    numbered: list[float] = []
    for value, count in sorted(bins.items(), key=lambda pair: (-pair[1], pair[0])):
        x, high = scale(value), max(room * count / most, 1.5)
        hint = f"{format_number(value)}: {format_count(count, 'scan')}"
        drawn.append(svg.box(x - width / 2, base - high, width, high, kind="bar accent", hint=hint))
        if len(bins) <= FEW and all(abs(x - other) > APART for other in numbered):
            numbered.append(x)
            drawn.append(svg.text(x, base - high - 3, str(count), anchor="middle", kind="small"))
    return drawn


def _bin_counts(values: Sequence[float], scale: Scale) -> Counter[float]:
    """How many values there are of each; of many different ones, how many in steps of a round width."""
    exact = Counter(values)
    if len(exact) <= EXACT:
        return exact
    step = svg.nice_step(scale.span / 60)
    return Counter(round(value / step) * step for value in values)


def _presence_area(kind: str, spans: Sequence[Span], top: float, scale: Scale) -> list[str]:
    base = top + BODY
    outline = [(scale.start, base)]
    per_pixel = scale.span / (scale.end - scale.start)
    for pixel in range(round(scale.start), round(scale.end) + 1, 2):
        place = scale.low + (pixel - scale.start) * per_pixel
        share = sum(span.start <= place <= span.end for span in spans) / len(spans)
        outline.append((pixel, base - BODY * share))
    outline.append((scale.end, base))
    return [
        svg.line(LEFT, base, RIGHT, base, kind="hair"),
        svg.tag("path", d=svg.path(outline, closed=True), class_=f"area {kind}"),
    ]


def shorten_name(name: str, *, beside: str) -> str:
    """A name that fits beside its figures; both of its ends are kept, since names may differ in either."""
    longest = max(int(svg.WIDTH / CHARACTER) - len(beside) - 2, 12)
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
