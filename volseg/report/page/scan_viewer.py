"""The list of scans, worst first, and the viewer that scrolls through those with a picture."""

import math
from collections.abc import Iterator

from volseg.report.page.content import ReportContent, ReportScan, format_metric
from volseg.visualization.html_page import render

COLUMNS = 4  # of so many classes the list has a column each; of more, only the lowest Dice
METRICS = {"Dice": "Dice", "HD95": "HD95 mm", "volume_ml": "ml", "truth_ml": "true ml"}
"""The columns of the viewer's table: metrics of each class of the scan that it shows."""
UNSCORED = {"volume_ml": METRICS["volume_ml"]}
"""Those of a report without scores."""


def scan_browser(content: ReportContent) -> str:
    """All scans by name, and beside them the viewer, which starts with the worst."""
    if not content.scans:
        return ""
    return render(
        "report/page/scan_viewer.html.j2",
        content=content,
        by_confidence=any(scan.record.confidence for scan in content.scans),
        header=["scan", *_score_header(content)],
        scans=[(scan, list(_score_cells(scan, content))) for scan in content.scans],
        classes={name: content.colour(name) for name in content.classes},
        metrics=list(_viewer_metrics(content).values()),
        pictures=[(scan, _metric_figures(scan, content)) for scan in content.scans if scan.picture],
    )


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
    """A row a class, a column for each metric."""
    metrics = _viewer_metrics(content)
    values = [
        {**scan.values.get(name, {}), "volume_ml": scan.volume_ml.get(name, math.nan)}
        for name in content.classes
    ]
    return [[format_metric(metric, row.get(metric, math.nan)) for metric in metrics] for row in values]


def _viewer_metrics(content: ReportContent) -> dict[str, str]:
    return METRICS if content.scores else UNSCORED
