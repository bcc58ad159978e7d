"""How scores and volumes spread over scans: a dot a scan, by class."""

import math
from collections.abc import Mapping, Sequence

from volseg import formatting
from volseg.data.distribution import Spread
from volseg.report.page.content import Facts, Scan, between, heading, shown
from volseg.visualization import html_page, row_charts
from volseg.visualization.row_charts import Row
from volseg.visualization.stylesheet import colour

FIRST = ("Dice", "NSD2", "HD95")
DIFFERENCE = "volume_difference_ml"
VOLUMES = ("volume_ml", "truth_ml", DIFFERENCE)
"""Metrics that the section of volumes shows."""


def scores(facts: Facts) -> str:
    """A plot for each metric, of two scans or more; of many metrics the first ones are shown at once."""
    if not facts.scores or len(facts.scores.headline.scans) < 2:
        return ""
    headline = facts.scores.headline
    judged = [scan for scan in facts.scans if scan.name in headline.scans]
    names = next(iter(judged[0].values.values()))
    plots = {name: _metric(name, judged, facts) for name in names if name not in VOLUMES}
    first = [plots.get(name, "") for name in FIRST]
    others = [plot for name, plot in plots.items() if plot and name not in FIRST]
    more = html_page.folded("Other metrics", f'<div class="plots">{"".join(others)}</div>')
    lead = f"Over {formatting.plural(len(judged), 'scan')}: {headline.name}. {row_charts.BOXES} {row_charts.FIGURES}"
    return html_page.section("How scores spread", lead, *first, more if others else "")


def volumes(facts: Facts) -> str:
    """Predicted volumes of two scans or more, and by how much they differ from the truth."""
    if len(facts.scans) < 2:
        return ""
    judged = [scan for scan in facts.scans if scan.scores]
    predicted = {name: _predicted(name, facts.scans) for name in facts.classes}
    return html_page.section(
        "Volumes",
        f"{row_charts.BOXES} {row_charts.FIGURES}",
        _strips("Predicted volume in ml", predicted, facts, "volume_ml"),
        _metric(DIFFERENCE, judged, facts, title="Predicted less true volume in ml"),
    )


def _metric(name: str, scans: Sequence[Scan], facts: Facts, title: str = "") -> str:
    """The plot of one metric; "" where no scan has a value."""
    values = {
        organ: {scan.name: scan.values[organ][name] for scan in scans if organ in scan.values}
        for organ in facts.classes
    }
    return _strips(title or heading(name), values, facts, name)


def _predicted(organ: str, scans: Sequence[Scan]) -> dict[str, float]:
    return {one.name: one.volume_ml[organ] for one in scans if organ in one.volume_ml}


def _strips(
    title: str, values: Mapping[str, Mapping[str, float]], facts: Facts, metric: str
) -> str:
    """A row a class of values by scan; those that are infinite are counted below."""
    lines = [_row(organ, by_scan, facts, metric) for organ, by_scan in values.items()]
    some = [line for line in lines if line.values]
    if not some:
        return ""
    missed = sum(math.isinf(value) for by_scan in values.values() for value in by_scan.values())
    plot = row_charts.strips(
        some, unit=title, zero=False, label=f"{title}, by scan. {row_charts.told(some)}"
    )
    return html_page.figure(title, plot, f"{missed} more are infinite." if missed else "")


def _row(organ: str, by_scan: Mapping[str, float], facts: Facts, metric: str) -> Row:
    finite = {scan: value for scan, value in by_scan.items() if math.isfinite(value)}
    hints = [f"{scan}: {shown(metric, value)}" for scan, value in finite.items()]
    kind = colour(facts.kind(organ))
    return Row(organ, _between(list(finite.values()), metric), list(finite.values()), hints, kind)


def _between(values: Sequence[float], metric: str) -> str:
    if not values:
        return ""
    found = Spread.of(values)
    middle = shown(metric, found.median)
    return middle if found.count == 1 else f"{middle} ({between(metric, found.p5, found.p95)})"
