"""Classes: how large they are, where they lie, and how both change."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from volseg.data.distribution import Spread, format_spread
from volseg.formatting import format_number, format_percent
from volseg.stats.dataset_stats import DatasetStats, ExtentStats, OverlapStats
from volseg.stats.scan_stats import AXES, ClassExtent, ScanStats, pair_name
from volseg.visualization import row_charts
from volseg.visualization.html_page import css_colour, render
from volseg.visualization.row_charts import ChartRow, Span
from volseg.visualization.scan_charts import CaseValues, case_ranges
from volseg.visualization.svg import Figure

PLOTTED = 6  # classes whose days are plotted; all are in the table
SQUARE = 6  # classes whose overlaps are shown as a matrix too
PAIRS = 12


class PresentClass(NamedTuple):
    """A class that some scan has: its name and colour, and each scan that has it with its extent."""

    name: str
    kind: str
    where: ExtentStats
    extents: Sequence[tuple[ScanStats, ClassExtent]]

    def row(self, spread: Spread, unit: str, value: Callable[[ClassExtent], float]) -> ChartRow:
        """A row of one quantity, by scan."""
        values = {scan.name: value(extent) for scan, extent in self.extents}
        text = format_spread(spread, unit)
        return ChartRow.by_scan(self.name, text, values, lambda v: f"{format_number(v)} {unit}", self.kind)

    @property
    def volume_row(self) -> ChartRow:
        """Its volumes in ml, by scan."""
        return self.row(self.where.volume_ml, "ml", lambda extent: extent.volume_ml)


def sizes_and_positions(stats: DatasetStats) -> str:
    """How large classes are, how many slices show them, and where they lie from head to foot."""
    if not stats.labelled:
        return ""
    present = list(_present_classes(stats))
    rows = [class_.volume_row for class_ in present]
    return render(
        "stats/page/classes.html.j2",
        stats=stats,
        volumes=row_charts.strip_plots(rows, unit="ml", label="Volumes over scans") if rows else "",
        slices=_slice_chart(stats, stats.slices.empty_share) if stats.slices else "",
        profiles=_head_foot_chart(present) if present else "",
    )


def _present_classes(stats: DatasetStats) -> Iterator[PresentClass]:
    scans = [scan for scan in stats.scans if scan.in_class_stats]
    for index, (name, entry) in enumerate(stats.organs.items()):
        if entry.where:
            extents = [(scan, extent) for scan in scans if (extent := scan.class_extent(name))]
            yield PresentClass(name, css_colour(index), entry.where, extents)


def _slice_chart(stats: DatasetStats, empty_share: Spread) -> Markup:
    """The share of all slices that show no class, and each class."""
    scans = [scan for scan in stats.scans if scan.in_class_stats]
    slices = sum(scan.slice_count for scan in scans)
    share = sum(scan.empty_slices or 0 for scan in scans) / slices
    rows = [ChartRow("no class", format_percent(share), [share], kind="none")]
    spreads = [empty_share]
    for index, (name, entry) in enumerate(stats.organs.items()):
        shares = [(e.slices if (e := scan.class_extent(name)) else 0) / scan.slice_count for scan in scans]
        spreads.append(Spread.from_values(shares))
        text = format_percent(entry.slice_share)
        rows.append(ChartRow(name, text, [entry.slice_share], kind=css_colour(index)))
    return row_charts.share_bars(rows, spreads, unit="% of slices", label="Slices")


def _head_foot_chart(present: Sequence[PresentClass]) -> Markup:
    rows, spans = [], []
    for name, kind, where, extents in present:
        top, bottom = (format_number(spread.median) for spread in (where.top_mm, where.bottom_mm))
        rows.append(ChartRow(name, f"{top} to {bottom} mm", [], kind=kind))
        spans.append([Span(extent.top_mm, extent.bottom_mm) for _, extent in extents])
    unit, label = "mm below the head end of the scan", "Where classes lie from head to foot"
    return row_charts.presence_profiles(rows, spans, unit=unit, label=label)


def volumes_by_day(stats: DatasetStats) -> str:
    """How volumes change over the days of a case; of many classes the most variable are plotted."""
    present = [(class_, stats.organs[class_.name].days) for class_ in _present_classes(stats)]
    varying = [(class_, days) for class_, days in present if days]
    if not varying:
        return ""
    most = sorted(varying, key=lambda pair: -pair[1].ratio.median)[:PLOTTED]
    return render(
        "stats/page/day_volumes.html.j2",
        classes=[(item[0].name, item[1], _day_range_chart(item[0])) for item in varying if item in most],
        hidden=len(varying) - len(most),
    )


def _day_range_chart(class_: PresentClass) -> Markup:
    days_by_case: dict[str, list[tuple[float, str]]] = {}
    for (scan, extent), hint in zip(class_.extents, class_.volume_row.hints, strict=True):
        days_by_case.setdefault(scan.case, []).append((extent.volume_ml, hint))
    cases = [CaseValues(case, days) for case, days in days_by_case.items() if len(days) > 1]
    return case_ranges(cases, kind=class_.kind, label=f"Volume of {class_.name} on each day, by case")


def extents(stats: DatasetStats) -> str:
    """How large the boxes around classes are: what a patch should hold."""
    present = list(_present_classes(stats))
    if not present or not stats.extent_mm:
        return ""
    boxes = [scan.extent_mm for scan in stats.scans if scan.in_class_stats and scan.extent_mm]
    charts = []
    for axis, name in enumerate(AXES):
        rows = [_extent_row(class_, axis) for class_ in present]
        if len(present) > 1:
            text = format_spread(stats.extent_mm[axis], "mm")
            rows.append(ChartRow("all classes", text, [box[axis] for box in boxes], kind="none"))
        chart = row_charts.strip_plots(rows, unit="mm", zero=False, label=f"Extent {name}")
        charts.append(Figure(name.capitalize(), chart))
    return render("stats/page/extents.html.j2", charts=charts)


def _extent_row(class_: PresentClass, axis: int) -> ChartRow:
    return class_.row(class_.where.extent_mm[axis], "mm", lambda extent: extent.extent_mm[axis])


def overlaps(stats: DatasetStats) -> str:
    """What classes share, where they may share anything; of many pairs those that share most."""
    if not stats.overlaps:
        return ""
    most = sorted(stats.overlaps, key=lambda pair: -pair.share.high)[:PAIRS]
    rows = [_overlap_row(pair, stats) for pair in stats.overlaps if pair in most]
    names = [name.replace("_", " ") for name in stats.classes]
    return render(
        "stats/page/overlaps.html.j2",
        chart=row_charts.strip_plots(rows, unit="%", label="Overlaps over scans"),
        drawn=PAIRS,
        hidden=len(stats.overlaps) > PAIRS,
        columns=names[1:],
        matrix=list(zip(names, _overlap_matrix(stats), strict=False)) if len(names) <= SQUARE else [],
    )


def _overlap_row(pair: OverlapStats, stats: DatasetStats) -> ChartRow:
    name = pair_name(pair.one, pair.other)
    shares = {s.name: s.overlaps[name] for s in stats.scans if s.in_class_stats and name in s.overlaps}
    low, middle, high = map(format_percent, (pair.share.p5, pair.share.median, pair.share.p95))
    hints = [f"{scan}: {format_percent(share)}" for scan, share in shares.items()]
    values = [100 * share for share in shares.values()]
    return ChartRow(name, f"{middle} ({low}–{high})", values, hints, "plain")


def _overlap_matrix(stats: DatasetStats) -> list[list[tuple[Spread | None, float]]]:
    """The upper triangle of shares and how deep their colours are, a row a class but for the last."""
    known = {(pair.one, pair.other): pair.share for pair in stats.overlaps}
    most = max(share.high for share in known.values()) or 1.0
    shares = [[known.get((one, other)) for other in stats.classes[1:]] for one in stats.classes[:-1]]
    return [[(share, 0.06 + 0.5 * share.median / most if share else 0) for share in row] for row in shares]
