"""How the volumes of organs change over the days of a case."""

from collections.abc import Mapping, Sequence

from volseg import formatting
from volseg.report.page.content import ReportContent, ReportScan
from volseg.visualization import html_page
from volseg.visualization.line_charts import LineSeries, line_chart
from volseg.visualization.stylesheet import css_colour

CASES, CLASSES = 9, 6
"""Cases and classes that are plotted: the cases of the worst scans, and the largest classes."""


def volumes_by_day(facts: ReportContent) -> str:
    """A plot for each case that was predicted on several days."""
    cases: dict[str, list[ReportScan]] = {}
    for scan in facts.scans:
        if scan.day is not None:
            cases.setdefault(scan.case, []).append(scan)
    several = {case: scans for case, scans in cases.items() if len(scans) > 1}
    if not several:
        return ""
    organs = _largest_classes(facts)
    plots = [_case_chart(case, several[case], organs, facts) for case in list(several)[:CASES]]
    return html_page.section(
        "Volumes over days", _lead_text(len(several)), _chart_legend(organs, facts), *plots
    )


def _lead_text(cases: int) -> str:
    left = cases - CASES
    more = f" {formatting.format_count(left, 'other case')} not drawn." if left > 0 else ""
    return f"Of cases that were predicted on two days or more, the one of the worst scan first.{more}"


def _chart_legend(organs: Sequence[str], facts: ReportContent) -> str:
    sides = [("prediction", "none dashed")]
    if any(scan.scores for scan in facts.scans):
        sides.insert(0, ("truth", "none"))
    return html_page.legend([*((name, css_colour(facts.colour_index(name))) for name in organs), *sides])


def _largest_classes(facts: ReportContent) -> list[str]:
    """The largest classes, in their usual order."""
    total = {name: sum(scan.volume_ml.get(name, 0) for scan in facts.scans) for name in facts.classes}
    largest = sorted(total, key=lambda name: -total[name])[:CLASSES]
    return [name for name in facts.classes if name in largest]


def _case_chart(case: str, scans: Sequence[ReportScan], organs: Sequence[str], facts: ReportContent) -> str:
    lines = []
    for name in organs:
        kind = css_colour(facts.colour_index(name))
        true = _points_by_day(name, [(scan.day, _label_volumes_ml(scan)) for scan in scans])
        found = _points_by_day(name, [(scan.day, scan.volume_ml) for scan in scans])
        lines += [
            LineSeries(f"{name}, truth", true, kind),
            LineSeries(f"{name}, prediction", found, kind, True),
        ]
    label = f"Volumes of {case} by day"
    return html_page.figure(case, line_chart(lines, across="day", unit="ml", label=label, zero=True))


def _label_volumes_ml(scan: ReportScan) -> dict[str, float]:
    return {organ: values["truth_ml"] for organ, values in scan.values.items()}


def _points_by_day(
    name: str, volumes: Sequence[tuple[int | None, Mapping[str, float]]]
) -> list[tuple[float, float]]:
    return sorted((float(day or 0), one[name]) for day, one in volumes if name in one)
