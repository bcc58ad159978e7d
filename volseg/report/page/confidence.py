"""Where to look: the organs that are trusted least, which slices to look at first, and why."""

import math
from collections.abc import Iterator, Sequence
from html import escape

from volseg import formatting
from volseg.inference.prediction_folder import RECORDS
from volseg.inference.tables import NOT_CALIBRATED, SHOWN, ConfidenceRow, confidence_rows
from volseg.report.page.content import ReportContent, ReportScan, format_metric
from volseg.visualization import html_page
from volseg.visualization.line_charts import ScatterGroup, scatter_plot
from volseg.visualization.stylesheet import css_colour

HEADER = ("scan", "organ", "confidence", "slices to check first", "why")
LEAD = "The least trusted organs first. Confidence is the Dice that the networks expect of their mask{of}."
FEWEST = 3
"""Pairs of confidence and Dice that are plotted."""


def least_trusted_classes(facts: ReportContent) -> str:
    """A row an organ, and beside them confidence against the truth where there is truth."""
    found = confidence_rows([scan.record for scan in facts.scans])
    if not found:
        return ""
    scans = {scan.name: scan for scan in facts.scans}
    table = html_page.scroll_area(_confidence_table(found[:SHOWN], scans, facts), "Where to look")
    left = len(found) - SHOWN
    more = f"{SHOWN} of {len(found)} organs; the others are in {RECORDS}." if left > 0 else ""
    return html_page.section(
        "Where to look",
        _lead_text(facts, found),
        html_page.card("", table, more),
        _confidence_vs_dice(facts),
        kind="where",
    )


def _lead_text(facts: ReportContent, found: Sequence[ConfidenceRow]) -> str:
    known = [row.confidence.calibrated for row in found]
    told = [LEAD.format(of=", calibrated on validation scans" if all(known) else "")]
    if not any(known):
        told.append(f"Here {NOT_CALIBRATED}: as it is, trust its order more than its height.")
    if any(scan.picture for scan in facts.scans):
        told.append("Choose slices to see them below.")
    return " ".join(told)


def _confidence_table(
    found: Sequence[ConfidenceRow], scans: dict[str, ReportScan], facts: ReportContent
) -> str:
    mixed = len({row.confidence.calibrated for row in found}) > 1
    heads = "".join(f'<th scope="col">{name}</th>' for name in HEADER)
    body = "".join(_confidence_row(row, scans[row.scan], facts, mixed=mixed) for row in found)
    return f'<table class="wide look"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _confidence_row(row: ConfidenceRow, scan: ReportScan, facts: ReportContent, *, mixed: bool) -> str:
    told = row.confidence
    dice = "not found" if told.dice is None else f"{told.dice:.2f}"
    below = "<small>not calibrated</small>" if mixed and not told.calibrated else ""
    swatch = f'<span class="swatch {css_colour(facts.colour_index(row.class_name))}"></span>'
    cells = (
        f"<span>{swatch}{escape(row.class_name)}</span>",
        f"<span>{dice}{below}</span>",
        f'<span class="places">{_slice_links(told.slices, scan)}</span>',
        f"<span>{'<br>'.join(escape(flag.text) for flag in told.flags)}</span>",
    )
    named = zip(HEADER[1:], cells, strict=True)
    listed = "".join(f'<td data-label="{name}">{cell}</td>' for name, cell in named)
    return f'<tr><th scope="row"><span>{escape(row.scan)}</span></th>{listed}</tr>'


def _slice_links(slices: Sequence[tuple[int, int]], scan: ReportScan) -> str:
    """Ranges of slices that lead to where the viewer shows them, if it does."""
    if not slices:
        return "–"
    if not scan.picture:
        return ", ".join(map(_format_range, slices))
    return " ".join(
        f'<button type="button" data-look="{escape(scan.name)}" data-ends="{first} {last}" '
        f'aria-label="Show slice {_format_range((first, last))} of {escape(scan.name)}">'
        f"{_format_range((first, last))}</button>"
        for first, last in slices
    )


def _format_range(ends: tuple[int, int]) -> str:
    first, last = ends
    return f"{first}" if first == last else f"{first}–{last}"


def _confidence_vs_dice(facts: ReportContent) -> str:
    """Confidence against the true Dice of the scans that stand for new patients best."""
    if not facts.scores:
        return ""
    names = facts.scores.headline.scans
    judged = [scan for scan in facts.scans if scan.name in names]
    groups = {organ: list(_confidence_dice_pairs(organ, judged)) for organ in facts.classes}
    pairs = [(x, y) for points in groups.values() for x, y, _ in points]
    if len(pairs) < FEWEST:
        return ""
    apart = sum(abs(x - y) for x, y in pairs) / len(pairs)
    below = sum(y < x for x, y in pairs)
    told = (
        f"{formatting.format_count(len(pairs), 'mask')} of {facts.scores.headline.name}: on average {apart:.2f} apart. "
        f"{below} of them lie below the line: their Dice is lower than was expected."
    )
    plot = scatter_plot(
        [ScatterGroup(points, css_colour(facts.colour_index(organ))) for organ, points in groups.items()],
        expected="confidence",
        found="true Dice",
        label=f"True Dice against confidence. {told}",
    )
    legend = html_page.legend(
        (organ, css_colour(facts.colour_index(organ))) for organ, points in groups.items() if points
    )
    return html_page.figure("Was confidence right?", legend + plot, told)


def _confidence_dice_pairs(organ: str, scans: Sequence[ReportScan]) -> Iterator[tuple[float, float, str]]:
    for scan in scans:
        told = scan.record.confidence.get(organ)
        found = scan.values.get(organ, {}).get("Dice", math.nan)
        if told and told.dice is not None and not math.isnan(found):
            hint = f"{scan.name}, {organ}: expected {told.dice:.2f}, Dice {format_metric('Dice', found)}"
            yield told.dice, found, hint
