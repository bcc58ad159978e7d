"""How scores and volumes spread over scans: a dot a scan, by class."""

import math
from collections.abc import Mapping, Sequence

from volseg import formatting
from volseg.data.distribution import Spread
from volseg.report.page.content import (
    ReportContent,
    ReportScan,
    format_metric,
    format_metric_range,
    metric_heading,
)
from volseg.visualization import html_page, row_charts
from volseg.visualization.row_charts import ChartRow
from volseg.visualization.stylesheet import css_colour

FIRST = ("Dice", "NSD2", "HD95")
DIFFERENCE = "volume_difference_ml"
VOLUMES = ("volume_ml", "truth_ml", DIFFERENCE)
"""Metrics that the section of volumes shows."""


def score_distributions(facts: ReportContent) -> str:
    """A plot for each metric, of two scans or more; of many metrics the first ones are shown at once."""
    if not facts.scores or len(facts.scores.headline.scans) < 2:
        return ""
    headline = facts.scores.headline
    judged = [scan for scan in facts.scans if scan.name in headline.scans]
    names = next(iter(judged[0].values.values()))
    plots = {name: _metric_chart(name, judged, facts) for name in names if name not in VOLUMES}
    first = [plots.get(name, "") for name in FIRST]
    others = [plot for name, plot in plots.items() if plot and name not in FIRST]
    more = html_page.collapsible_card("Other metrics", f'<div class="plots">{"".join(others)}</div>')
    lead = f"Over {formatting.format_count(len(judged), 'scan')}: {headline.name}. {row_charts.BOXES} {row_charts.FIGURES}"
    return html_page.section("How scores spread", lead, *first, more if others else "")


def volume_distributions(facts: ReportContent) -> str:
    """Predicted volumes of two scans or more, and by how much they differ from the truth."""
    if len(facts.scans) < 2:
        return ""
    judged = [scan for scan in facts.scans if scan.scores]
    predicted = {name: _predicted_volumes(name, facts.scans) for name in facts.classes}
    return html_page.section(
        "Volumes",
        f"{row_charts.BOXES} {row_charts.FIGURES}",
        _strip_chart("Predicted volume in ml", predicted, facts, "volume_ml"),
        _metric_chart(DIFFERENCE, judged, facts, title="Predicted less true volume in ml"),
    )


def _metric_chart(name: str, scans: Sequence[ReportScan], facts: ReportContent, title: str = "") -> str:
    """The plot of one metric; "" where no scan has a value."""
    values = {
        organ: {scan.name: scan.values[organ][name] for scan in scans if organ in scan.values}
        for organ in facts.classes
    }
    return _strip_chart(title or metric_heading(name), values, facts, name)


def _predicted_volumes(organ: str, scans: Sequence[ReportScan]) -> dict[str, float]:
    return {one.name: one.volume_ml[organ] for one in scans if organ in one.volume_ml}


def _strip_chart(
    title: str, values: Mapping[str, Mapping[str, float]], facts: ReportContent, metric: str
) -> str:
    """A row a class of values by scan; those that are infinite are counted below."""
    lines = [_class_row(organ, by_scan, facts, metric) for organ, by_scan in values.items()]
    some = [line for line in lines if line.values]
    if not some:
        return ""
    missed = sum(math.isinf(value) for by_scan in values.values() for value in by_scan.values())
    plot = row_charts.strip_plots(
        some, unit=title, zero=False, label=f"{title}, by scan. {row_charts.describe_rows(some)}"
    )
    return html_page.figure(title, plot, f"{missed} more are infinite." if missed else "")


def _class_row(organ: str, by_scan: Mapping[str, float], facts: ReportContent, metric: str) -> ChartRow:
    finite = {scan: value for scan, value in by_scan.items() if math.isfinite(value)}
    hints = [f"{scan}: {format_metric(metric, value)}" for scan, value in finite.items()]
    kind = css_colour(facts.colour_index(organ))
    return ChartRow(
        organ, _median_and_range(list(finite.values()), metric), list(finite.values()), hints, kind
    )


def _median_and_range(values: Sequence[float], metric: str) -> str:
    if not values:
        return ""
    found = Spread.from_values(values)
    middle = format_metric(metric, found.median)
    return middle if found.count == 1 else f"{middle} ({format_metric_range(metric, found.p5, found.p95)})"
