"""Table of predicted classes in order of rising confidence, and confidence against Dice."""

import math
from collections.abc import Iterator, Sequence

from volseg.formatting import format_count
from volseg.inference.prediction_folder import RECORDS
from volseg.inference.tables import (
    NOT_CALIBRATED,
    SHOWN,
    confidence_notes,
    confidence_rows,
    format_confidence,
    format_range,
)
from volseg.report.page.content import ReportContent, ReportScan, format_metric
from volseg.report.page.later_changes import calibrated_later
from volseg.visualization.html_page import render
from volseg.visualization.line_charts import ScatterGroup, scatter_plot
from volseg.visualization.svg import Figure

FEWEST = 3  # pairs of confidence and Dice that are plotted


def least_trusted_classes(content: ReportContent) -> str:
    """A row a class, and beside them confidence against Dice where there are labels."""
    records = [scan.record for scan in content.scans]
    rows = confidence_rows(records)
    if not rows:
        return ""
    left_out = [f"{SHOWN} of {len(rows)} organs; the others are in {RECORDS}"] if rows[SHOWN:] else []
    notes = [note for note in confidence_notes(records) if note != NOT_CALIBRATED]
    known = [row.confidence.calibrated for row in rows]
    return render(
        "report/page/confidence.html.j2",
        content=content,
        scans={scan.name: scan for scan in content.scans},
        calibrated="all" if all(known) else "some" if any(known) else "none",
        not_calibrated=NOT_CALIBRATED,
        calibrated_later=calibrated_later(content),
        rows=rows[:SHOWN],
        told=format_confidence,
        range_of=format_range,
        remarks="\n".join(f"{remark[0].upper()}{remark[1:]}." for remark in (*left_out, *notes)),
        outside={scan.name: scan.record.outside for scan in content.scans if scan.record.outside},
        accuracy=_confidence_vs_dice(content),
    )


def _confidence_vs_dice(content: ReportContent) -> Figure | None:
    """Confidence against the Dice of the scans that stand for new patients best."""
    if not content.scores:
        return None
    headline = content.scores.headline
    scans = [scan for scan in content.scans if scan.name in headline.scans]
    pairs = {name: list(_confidence_dice_pairs(name, scans)) for name in content.classes}
    distances = [dice - expected for points in pairs.values() for expected, dice, _ in points]
    if len(distances) < FEWEST:
        return None
    caption = (
        f"{format_count(len(distances), 'mask')} of {headline.name}: on average "
        f"{sum(map(abs, distances)) / len(distances):.2f} apart. {sum(d < 0 for d in distances)} of them lie "
        "below the line: their Dice is lower than was expected."
    )
    chart = scatter_plot(
        [ScatterGroup(points, content.colour(name)) for name, points in pairs.items()],
        expected="confidence",
        measured="true Dice",
        label=f"True Dice against confidence. {caption}",
    )
    keys = [(name, content.colour(name)) for name, points in pairs.items() if points]
    return Figure("Was confidence right?", chart, caption, keys)


def _confidence_dice_pairs(
    class_name: str, scans: Sequence[ReportScan]
) -> Iterator[tuple[float, float, str]]:
    """Confidence, Dice and a tooltip of each scan that has both."""
    for scan in scans:
        confidence, dice = scan.record.confidence.get(class_name), scan.metric(class_name, "Dice")
        if confidence and confidence.dice is not None and not math.isnan(dice):
            expected = confidence.dice
            hint = f"{scan.name}, {class_name}: expected {expected:.2f}, Dice {format_metric('Dice', dice)}"
            yield expected, dice, hint
