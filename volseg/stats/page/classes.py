"""What the page tells of classes: how large they are, where they lie, and how both change."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from volseg import formatting
from volseg.data import distribution
from volseg.data.distribution import Spread
from volseg.stats.dataset_stats import DatasetStats, DayVolumeStats, ExtentStats, OverlapStats
from volseg.stats.scan_stats import AXES, ClassExtent, ScanStats, pair_name
from volseg.visualization import html_page, row_charts, scan_charts
from volseg.visualization.row_charts import ChartRow, Span
from volseg.visualization.stylesheet import css_colour

PLOTTED = 6
"""Classes whose days are plotted; all are in the table."""
SQUARE = 6
"""Classes whose overlaps are shown as a matrix too."""
PAIRS = 12


class PresentClass(NamedTuple):
    """A class that some scan has: its name and colour, and each scan that has it with its place."""

    name: str
    kind: str
    where: ExtentStats
    places: Sequence[tuple[ScanStats, ClassExtent]]


def sizes_and_positions(found: DatasetStats) -> str:
    """How large classes are, how many slices show them, and where they lie from head to foot."""
    seen = list(_present_classes(found))
    if not found.labelled:
        return ""
    lead = f"Over {formatting.format_count(found.labelled, 'scan')} with labels."
    return html_page.section(
        "Classes", lead, _volume_chart(seen), _slice_chart(found), _head_foot_chart(seen)
    )


def _present_classes(found: DatasetStats) -> Iterator[PresentClass]:
    for index, (name, one) in enumerate(found.organs.items()):
        if one.where:
            counted = [scan for scan in found.scans if scan.in_class_stats]
            places = [(scan, place) for scan in counted if (place := scan.class_extent(name))]
            yield PresentClass(name, css_colour(index), one.where, places)


def _volume_chart(seen: Sequence[PresentClass]) -> str:
    lines = [
        ChartRow(
            name,
            distribution.format_spread(where.volume_ml, "ml"),
            [place.volume_ml for _, place in places],
            [f"{scan.name}: {formatting.format_number(place.volume_ml)} ml" for scan, place in places],
            kind,
        )
        for name, kind, where, places in seen
    ]
    if not lines:
        return ""
    plot = row_charts.strip_plots(
        lines, unit="ml", label=f"Volumes over scans. {row_charts.describe_rows(lines)}"
    )
    return html_page.figure("Volume", plot, f"{row_charts.BOXES} {row_charts.FIGURES}")


def _slice_chart(found: DatasetStats) -> str:
    counted = [scan for scan in found.scans if scan.in_class_stats]
    if not found.slices:
        return ""
    share = found.slices.empty / found.slices.count
    lines = [ChartRow("no class", formatting.format_percent(share), [share], kind="none")]
    spreads = [found.slices.empty_share]
    for index, (name, one) in enumerate(found.organs.items()):
        shown = [(scan, scan.class_extent(name)) for scan in counted]
        spreads.append(Spread.from_values(p.slices / scan.slice_count if p else 0.0 for scan, p in shown))
        told = formatting.format_percent(one.slice_share)
        lines.append(ChartRow(name, told, [one.slice_share], kind=css_colour(index)))
    plot = row_charts.share_bars(
        lines, spreads, unit="% of slices", label=f"Slices. {row_charts.describe_rows(lines)}"
    )
    caption = f"Of {formatting.format_number(found.slices.count)} slices. Line: 5–95 % of scans."
    return html_page.figure("Slices that show a class", plot, caption)


def _head_foot_chart(seen: Sequence[PresentClass]) -> str:
    lines, spans = [], []
    for name, kind, where, places in seen:
        top, bottom = (
            formatting.format_number(where.top_mm.median),
            formatting.format_number(where.bottom_mm.median),
        )
        lines.append(ChartRow(name, f"{top} to {bottom} mm", [], kind=kind))
        spans.append([Span(place.top_mm, place.bottom_mm) for _, place in places])
    if not lines:
        return ""
    label = f"Where classes lie from head to foot. {row_charts.describe_rows(lines)}"
    plot = row_charts.presence_profiles(lines, spans, unit="mm below the head end of the scan", label=label)
    caption = "Height: share of scans in which a class reaches over a place. Figures: median top and bottom."
    return html_page.figure("From head to foot", plot, caption)


def volumes_by_day(found: DatasetStats) -> str:
    """How volumes change over the days of a case; of many classes the most variable are plotted."""
    some = [(one, days) for one in _present_classes(found) if (days := found.organs[one.name].days)]
    if not some:
        return ""
    most = sorted(some, key=lambda pair: -pair[1].ratio.median)[:PLOTTED]
    plots = [
        html_page.figure(one.name, _day_range_chart(one), _day_change_text(days))
        for one, days in some
        if (one, days) in most
    ]
    left = f" The {PLOTTED} classes that vary most." if len(some) > PLOTTED else ""
    lead = (
        "Of cases that have the class on two days or more: a line a case from its smallest to its "
        f"largest day, a dot a day.{left}"
    )
    return html_page.section("Volumes over a case's days", lead, *plots)


def _day_change_text(days: DayVolumeStats) -> str:
    ratio, variation = days.ratio, days.variation
    told = (
        f"Largest by smallest day: median {ratio.median:.2f}, at most {ratio.high:.3g}. "
        f"Standard deviation by mean: median {formatting.format_percent(variation.median)}, "
        f"at most {formatting.format_percent(variation.high)}."
    )
    some = formatting.format_count(days.on_some_days, "case")
    return f"{told} {some} without it on other days." if days.on_some_days else told


def _day_range_chart(one: PresentClass) -> str:
    by_case: dict[str, list[tuple[float, str]]] = {}
    for scan, place in one.places:
        told = f"{scan.name}: {formatting.format_number(place.volume_ml)} ml"
        by_case.setdefault(scan.case, []).append((place.volume_ml, told))
    cases = [scan_charts.CaseValues(case, seen) for case, seen in by_case.items() if seen[1:]]
    return scan_charts.case_ranges(cases, kind=one.kind, label=f"Volume of {one.name} on each day, by case")


def extents(found: DatasetStats) -> str:
    """How large the boxes around classes are: what a patch should hold."""
    seen = list(_present_classes(found))
    if not seen or not found.extent_mm:
        return ""
    boxes = [scan.extent_mm for scan in found.scans if scan.in_class_stats and scan.extent_mm]
    parts = []
    for axis, axis_name in enumerate(AXES):
        lines = [_extent_row(one, axis) for one in seen]
        if len(seen) > 1:
            told = distribution.format_spread(found.extent_mm[axis], "mm")
            lines.append(ChartRow("all classes", told, [box[axis] for box in boxes], kind="none"))
        plot = row_charts.strip_plots(
            lines, unit="mm", zero=False, label=f"Extent {axis_name}. {row_charts.describe_rows(lines)}"
        )
        parts.append(html_page.figure(axis_name.capitalize(), plot))
    lead = (
        "The box around a class, by scan, along the patient's axes: a patch that is larger sees it whole. "
        f"{row_charts.BOXES} {row_charts.FIGURES}"
    )
    return html_page.section("Extent", lead, *parts)


def _extent_row(one: PresentClass, axis: int) -> ChartRow:
    values = [place.extent_mm[axis] for _, place in one.places]
    hints = [
        f"{scan.name}: {formatting.format_number(place.extent_mm[axis])} mm" for scan, place in one.places
    ]
    told = distribution.format_spread(one.where.extent_mm[axis], "mm")
    return ChartRow(one.name, told, values, hints, one.kind)


def overlaps(found: DatasetStats) -> str:
    """What classes share, where they may share anything; of many pairs those that share most."""
    if not found.overlaps:
        return ""
    most = sorted(found.overlaps, key=lambda one: -one.share.high)[:PAIRS]
    lines = [_overlap_row(one, found) for one in found.overlaps if one in most]
    plot = row_charts.strip_plots(
        lines, unit="%", label=f"Overlaps over scans. {row_charts.describe_rows(lines)}"
    )
    left = f" The {PAIRS} pairs that share most." if len(found.overlaps) > PAIRS else ""
    matrix = ""
    if len(found.classes) <= SQUARE:
        matrix = html_page.card("Median over scans", _overlap_matrix(found.classes, found.overlaps))
    return html_page.section(
        "Overlap between classes",
        f"Voxels that two classes share, as a share of the smaller one in the scan.{left}",
        html_page.figure("By scan", plot, f"{row_charts.BOXES} {row_charts.FIGURES}"),
        matrix,
    )


def _overlap_row(one: OverlapStats, found: DatasetStats) -> ChartRow:
    name = pair_name(one.one, one.other)
    shared = [
        (scan, scan.overlaps[name]) for scan in found.scans if scan.in_class_stats and name in scan.overlaps
    ]
    low, middle, high = map(formatting.format_percent, (one.share.p5, one.share.median, one.share.p95))
    hints = [f"{scan.name}: {formatting.format_percent(share)}" for scan, share in shared]
    values = [100 * share for _, share in shared]
    return ChartRow(name, f"{middle} ({low}–{high})", values, hints, "plain")


def _overlap_matrix(classes: Sequence[str], overlaps: Sequence[OverlapStats]) -> str:
    """Medians over scans, and the largest below; the more two classes share, the deeper the colour."""
    known = {frozenset((one.one, one.other)): one.share for one in overlaps}
    most = max(share.high for share in known.values()) or 1.0
    heads = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in classes[1:])
    body = ""
    for row, name in enumerate(classes[:-1]):
        body += f'<tr><th scope="row">{escape(name.replace("_", " "))}</th>'
        for column, other in enumerate(classes[1:], start=1):
            share = known.get(frozenset((name, other)))
            if column <= row or share is None:
                body += "<td></td>"
                continue
            heat = 0.06 + 0.5 * share.median / most
            body += f'<td style="background:rgba(var(--heat),{heat:.2f})">{formatting.format_percent(share.median)}'
            body += f"<small>up to {formatting.format_percent(share.high)}</small></td>"
        body += "</tr>"
    return f'<table class="heat"><thead><tr><th></th>{heads}</tr></thead><tbody>{body}</tbody></table>'
