"""Volumes of classes over the days of a case."""

from collections.abc import Mapping, Sequence

from volseg.report.page.content import ReportContent, ReportScan
from volseg.visualization.html_page import render
from volseg.visualization.line_charts import LineSeries, line_chart
from volseg.visualization.svg import Figure

CASES, CLASSES = 9, 6
"""Cases and classes that are plotted: the cases of the worst scans, and the largest classes."""


def volumes_by_day(content: ReportContent) -> str:
    """A chart for each case that was predicted on several days."""
    scans_by_case: dict[str, list[ReportScan]] = {}
    for scan in content.scans:
        if scan.day is not None:
            scans_by_case.setdefault(scan.case, []).append(scan)
    several = {case: scans for case, scans in scans_by_case.items() if len(scans) > 1}
    if not several:
        return ""
    names = _largest_classes(content)
    sides = [("prediction", "none dashed")]
    if any(scan.scores for scan in content.scans):
        sides.insert(0, ("truth", "none"))
    return render(
        "report/page/day_volumes.html.j2",
        hidden=len(several) - CASES,
        keys=[*((name, content.colour(name)) for name in names), *sides],
        charts=[_case_chart(case, several[case], names, content) for case in list(several)[:CASES]],
    )


def _largest_classes(content: ReportContent) -> list[str]:
    """The largest classes, in the order of the dataset."""
    total = {name: sum(scan.volume_ml.get(name, 0) for scan in content.scans) for name in content.classes}
    largest = sorted(total, key=lambda name: -total[name])[:CLASSES]
    return [name for name in content.classes if name in largest]


def _case_chart(
    case: str, scans: Sequence[ReportScan], names: Sequence[str], content: ReportContent
) -> Figure:
    predicted = [(scan.day, scan.volume_ml) for scan in scans]
    labelled = [(s.day, {name: values["truth_ml"] for name, values in s.values.items()}) for s in scans]
    lines = []
    for name in names:
        kind = content.colour(name)
        lines += [
            LineSeries(f"{name}, truth", _points_by_day(name, labelled), kind),
            LineSeries(f"{name}, prediction", _points_by_day(name, predicted), kind, True),
        ]
    label = f"Volumes of {case} by day"
    return Figure(case, line_chart(lines, across="day", unit="ml", label=label, zero=True))


def _points_by_day(
    name: str, volumes: Sequence[tuple[int | None, Mapping[str, float]]]
) -> list[tuple[float, float]]:
    return sorted((float(day or 0), by_class[name]) for day, by_class in volumes if name in by_class)
