"""Scores and volumes over scans: a dot a scan, by class."""

import math
from collections.abc import Mapping, Sequence

from volseg.data.distribution import Spread
from volseg.report.page.content import (
    ReportContent,
    ReportScan,
    format_metric,
    format_metric_range,
    metric_heading,
)
from volseg.visualization.html_page import render
from volseg.visualization.row_charts import ChartRow, strip_plots
from volseg.visualization.svg import Figure

FIRST = ("Dice", "NSD2", "HD95")
DIFFERENCE = "volume_difference_ml"
VOLUMES = ("volume_ml", "truth_ml", DIFFERENCE)
"""Metrics that the section of volumes shows."""


def score_distributions(content: ReportContent) -> str:
    """A chart for each metric, of two scans or more; of many metrics the first ones are shown at once."""
    if not content.scores or len(content.scores.headline.scans) < 2:
        return ""
    headline = content.scores.headline
    scans = [scan for scan in content.scans if scan.name in headline.scans]
    names = [name for name in next(iter(scans[0].values.values())) if name not in VOLUMES]
    charts = {name: chart for name in names if (chart := _metric_chart(name, scans, content))}
    return render(
        "report/page/score_distributions.html.j2",
        scans=len(scans),
        group=headline.name,
        first=[charts[name] for name in FIRST if name in charts],
        others=[chart for name, chart in charts.items() if name not in FIRST],
    )


def volume_distributions(content: ReportContent) -> str:
    """Predicted volumes of two scans or more, and by how much they differ from those of the labels."""
    if len(content.scans) < 2:
        return ""
    predicted = {
        name: {scan.name: scan.volume_ml[name] for scan in content.scans if name in scan.volume_ml}
        for name in content.classes
    }
    scored = [scan for scan in content.scans if scan.scores]
    charts = [
        _strip_chart("Predicted volume in ml", predicted, content, "volume_ml"),
        _metric_chart(DIFFERENCE, scored, content, title="Predicted less true volume in ml"),
    ]
    charts = [chart for chart in charts if chart]
    return render("report/page/volume_distributions.html.j2", charts=charts) if charts else ""


def _metric_chart(
    metric: str, scans: Sequence[ReportScan], content: ReportContent, title: str = ""
) -> Figure | None:
    values = {
        name: {scan.name: scan.values[name][metric] for scan in scans if name in scan.values}
        for name in content.classes
    }
    return _strip_chart(title or metric_heading(metric), values, content, metric)


def _strip_chart(
    title: str, values: Mapping[str, Mapping[str, float]], content: ReportContent, metric: str
) -> Figure | None:
    """A row a class of values by scan, infinite ones counted below; None where no scan has a finite value."""
    rows = [_class_row(name, by_scan, content, metric) for name, by_scan in values.items()]
    rows = [row for row in rows if row.values]
    if not rows:
        return None
    infinite = sum(math.isinf(value) for by_scan in values.values() for value in by_scan.values())
    chart = strip_plots(rows, unit=title, zero=False, label=f"{title}, by scan")
    return Figure(title, chart, f"{infinite} more are infinite." if infinite else "")


def _class_row(name: str, by_scan: Mapping[str, float], content: ReportContent, metric: str) -> ChartRow:
    finite = {scan: value for scan, value in by_scan.items() if math.isfinite(value)}
    text = _median_and_range(list(finite.values()), metric)
    return ChartRow.by_scan(name, text, finite, lambda v: format_metric(metric, v), content.colour(name))


def _median_and_range(values: Sequence[float], metric: str) -> str:
    if not values:
        return ""
    spread = Spread.from_values(values)
    median = format_metric(metric, spread.median)
    return median if len(values) == 1 else f"{median} ({format_metric_range(metric, spread.p5, spread.p95)})"
