"""The list of scans, worst first, and the viewer that scrolls through those with a picture."""

import math
from collections.abc import Iterator

from volseg.evaluation.scan_scores import GROUPS
from volseg.report.page.content import ReportContent, ReportScan, format_metric
from volseg.visualization.html_page import render

COLUMNS = 4
"""Of so many classes the list has a column each; of more, only the lowest Dice."""
METRICS = {"Dice": "Dice", "HD95": "HD95 mm", "volume_ml": "ml", "truth_ml": "true ml"}
"""The columns of the viewer's table: metrics of each class of the scan that it shows."""


def scan_browser(content: ReportContent) -> str:
    """All scans by name, and beside them the viewer, which starts with the worst."""
    if not content.scans:
        return ""
    return render(
        "report/page/scan_viewer.html.j2",
        lead=_lead_text(content),
        header=["scan", *_score_header(content)],
        scans=[(scan, list(_score_cells(scan, content))) for scan in content.scans],
        remarks={scan.name: _remark(scan, content) for scan in content.scans},
        classes={name: content.colour(name) for name in content.classes},
        metrics=list(METRICS.values()),
        pictures=[(scan, _metric_figures(scan, content)) for scan in content.scans if scan.picture],
    )


def _lead_text(content: ReportContent) -> str:
    order = "Worst first, by the mean Dice over classes." if content.scores else "In order of names."
    if not content.scores and any(scan.record.confidence for scan in content.scans):
        order = "Least trusted first, by the lowest confidence of an organ."
    drawn = sum(bool(scan.picture) for scan in content.scans)
    left = len(content.scans) - drawn
    if not left:
        return order
    return f"{order} This file has room for the first {drawn}; the other {left} are named with their scores."


def _remark(scan: ReportScan, content: ReportContent) -> str:
    """The group of a scan, or why it has no scores."""
    return GROUPS[scan.scores.seen] if scan.scores else content.unscored.get(scan.name, "")


def _score_header(content: ReportContent) -> list[str]:
    if not content.scores:
        return []
    if len(content.classes) > COLUMNS:
        return ["Dice", "lowest", "of"]
    return ["Dice", *(name.replace("_", " ") for name in content.classes)]


def _score_cells(scan: ReportScan, content: ReportContent) -> Iterator[str]:
    if not content.scores:
        return
    yield format_metric("Dice", scan.dice)
    dice = {name: scan.metric(name, "Dice") for name in content.classes}
    if len(dice) <= COLUMNS:
        yield from (format_metric("Dice", value) for value in dice.values())
        return
    known = {name: value for name, value in dice.items() if not math.isnan(value)}
    lowest = min(known, key=lambda name: known[name], default="")
    yield format_metric("Dice", known.get(lowest, math.nan))
    yield lowest.replace("_", " ")


def _metric_figures(scan: ReportScan, content: ReportContent) -> list[list[str]]:
    """A row a class, a column for each of METRICS."""
    values = [
        {**scan.values.get(name, {}), "volume_ml": scan.volume_ml.get(name, math.nan)}
        for name in content.classes
    ]
    return [[format_metric(metric, row.get(metric, math.nan)) for metric in METRICS] for row in values]
