"""The list of scans, worst first, and the viewer that scrolls through those with a picture."""

import json
import math
from collections.abc import Iterator
from html import escape

from volseg.evaluation.scan_scores import GROUPS
from volseg.report.page.content import ReportContent, ReportScan, format_metric
from volseg.visualization import html_page
from volseg.visualization.stylesheet import css_colour

COLUMNS = 4
"""Of so many classes the list has a column each; of more, only the lowest Dice."""
METRICS = {"Dice": "Dice", "HD95": "HD95 mm", "volume_ml": "ml", "truth_ml": "true ml"}
"""What the viewer tells of each class of the scan that it shows."""
SIDES = {"truth": "truth", "prediction": "prediction", "difference": "where they differ"}


def scan_browser(facts: ReportContent) -> str:
    """All scans by name, and beside them the viewer, which starts with the worst."""
    drawn = [scan for scan in facts.scans if scan.picture]
    listed = html_page.scroll_area(_scan_table(facts), "Scans") if facts.scans else ""
    parts = [f'<div class="card">{listed}</div>' if listed else "", _slice_viewer(facts) if drawn else ""]
    data = "".join(_scan_data(scan, facts) for scan in drawn)
    return html_page.section("Scans", _lead_text(facts, len(drawn)), *parts, kind="browser") + data


def _lead_text(facts: ReportContent, drawn: int) -> str:
    order = "Worst first, by the mean Dice over classes." if facts.scores else "In order of names."
    if not facts.scores and any(scan.record.confidence for scan in facts.scans):
        order = "Least trusted first, by the lowest confidence of an organ."
    left = len(facts.scans) - drawn
    if not left:
        return order
    return f"{order} This file has room for the first {drawn}; the other {left} are named with their scores."


def _scan_table(facts: ReportContent) -> str:
    """A row a scan; those with a picture can be chosen."""
    header = ["scan", *_score_header(facts)]
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(_scan_row(scan, facts) for scan in facts.scans)
    return f'<table class="scans"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _score_header(facts: ReportContent) -> list[str]:
    if not facts.scores:
        return []
    if len(facts.classes) > COLUMNS:
        return ["Dice", "lowest", "of"]
    return ["Dice", *(name.replace("_", " ") for name in facts.classes)]


def _scan_row(scan: ReportScan, facts: ReportContent) -> str:
    cells = "".join(f"<td>{escape(told)}</td>" for told in _score_cells(scan, facts))
    below = GROUPS[scan.scores.seen] if scan.scores else facts.unscored.get(scan.name, "")
    name = escape(scan.name)
    if scan.picture:
        name = f'<label><input type="radio" name="scan" value="{name}">{name}</label>'
    return f'<tr><th scope="row">{name}<small>{escape(below)}</small></th>{cells}</tr>'


def _score_cells(scan: ReportScan, facts: ReportContent) -> Iterator[str]:
    if not facts.scores:
        return
    yield format_metric("Dice", scan.dice)
    dice = {name: scan.values.get(name, {}).get("Dice", math.nan) for name in facts.classes}
    if len(dice) <= COLUMNS:
        yield from (format_metric("Dice", value) for value in dice.values())
        return
    known = {name: value for name, value in dice.items() if not math.isnan(value)}
    lowest = min(known, key=lambda name: known[name], default="")
    yield format_metric("Dice", known.get(lowest, math.nan))
    yield lowest.replace("_", " ")


def _slice_viewer(facts: ReportContent) -> str:
    """What the page's script fills: a slice with its outlines, a slider, and what is shown."""
    toggles = "".join(
        f'<label><input type="checkbox" data-side="{side}" checked>'
        f'<span class="key {side}"></span>{name}</label>'
        for side, name in SIDES.items()
    )
    sides = zip("RLAP", ("right", "left", "front", "back"), strict=True)
    marks = "".join(f'<abbr class="{name}" title="{name}">{mark}</abbr>' for mark, name in sides)
    return (
        '<div class="card viewer" id="viewer"><h3 data-part="name"></h3>'
        '<div class="stage"><canvas data-part="grey" role="img"></canvas>'
        f'<svg data-part="lines" aria-hidden="true"><g data-part="paths">{_outline_paths(facts)}</g>'
        f'<path class="bar5" d=""/></svg>{marks}</div>'
        '<div class="slide"><svg data-part="profile" preserveAspectRatio="none" role="img">'
        f'{_profile_paths(facts)}<path class="beyond"/><path class="cursor"/></svg>'
        '<svg data-part="checks" class="checks" preserveAspectRatio="none" aria-hidden="true">'
        '<path d=""/></svg>'
        '<input type="range" data-part="slice" min="0" step="1" aria-label="Slice">'
        '<p><output data-part="told"></output><span data-part="range"></span>'
        '<span data-part="most"></span></p>'
        '<p class="places" data-part="places" hidden></p></div>'
        f'<fieldset class="toggles"><legend>Outlines</legend>{toggles}</fieldset>{_class_table(facts)}'
        "<figcaption>Arrow keys move the slider, and choose in the list. The patient's left is on the "
        "right; the bar is 5 cm long.</figcaption>"
        "<noscript>The pictures need JavaScript; nothing is loaded from elsewhere.</noscript></div>"
    )


def _outline_paths(facts: ReportContent) -> str:
    """Each class's area where the sides differ, then its outlines, each over a dark one that sets it off."""
    kinds = ("difference", "truth halo", "truth", "prediction halo", "prediction")
    return "".join(
        f'<path class="{kind} {css_colour(index)}" data-organ="{index}"/>'
        for kind in kinds
        for index in range(len(facts.classes))
    )


def _profile_paths(facts: ReportContent) -> str:
    return "".join(
        f'<path class="profile {css_colour(index)}" data-organ="{index}"/>'
        for index in range(len(facts.classes))
    )


def _class_table(facts: ReportContent) -> str:
    """A row a class: the box that shows and hides it, and its scores in the scan."""
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("class", *METRICS.values()))
    body = "".join(
        f'<tr><th scope="row"><label><input type="checkbox" data-toggles="{index}" checked>'
        f'<span class="swatch {css_colour(index)}"></span>{escape(name)}</label></th>'
        f"{'<td></td>' * len(METRICS)}</tr>"
        for index, name in enumerate(facts.classes)
    )
    return f'<table class="organs"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _scan_data(scan: ReportScan, facts: ReportContent) -> str:
    """A scan as the script reads it: the figures of each class, and its picture; both without any names."""
    figures = [
        [format_metric(metric, _metric_value(scan, organ, metric)) for metric in METRICS]
        for organ in facts.classes
    ]
    packed = f"[{json.dumps(figures)},{scan.picture}]"
    return f'<script type="application/json" data-scan="{escape(scan.name)}">{packed}</script>'


def _metric_value(scan: ReportScan, organ: str, metric: str) -> float:
    if metric == "volume_ml":
        return scan.volume_ml.get(organ, math.nan)
    return scan.values.get(organ, {}).get(metric, math.nan)
