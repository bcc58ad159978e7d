"""What a comparison found, as a sentence, as tables and as JSON."""

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

from volseg.evaluation.bootstrap import Estimate
from volseg.evaluation.comparison.compare import ComparisonResult
from volseg.evaluation.comparison.differences import DifferenceRow
from volseg.evaluation.score_files import METHOD, to_json_value

if TYPE_CHECKING:
    from rich.table import Table

EACH = 5
"""Scans that the table shows of those that are better in A, and of those in B."""
SIGNS = {"A": "A", "B": "B", "open": "?", "few": "?", "same": "="}


def verdict_sentence(found: ComparisonResult) -> str:
    """The verdict on all scans, in one line."""
    overall, by = found.overall, found.criterion
    told = overall.difference
    if overall.verdict == "same":
        return f"no difference: {by.title} is the same on all {overall.scans} scans"
    if overall.verdict in ("A", "B"):
        size = told.to_text(by.digits) if told.mean > 0 else _negated_estimate(told).to_text(by.digits)
        return f"{overall.verdict} is better: {by.title} is {by.better} by {size}, {told.interval_basis}"
    apart = f"{by.title} of B - A is {told.to_text(by.digits, sign='+')}"
    return f"no difference can be told: {apart}{',' if told.has_interval else ';'} {told.interval_basis}"


def verdict_notes(found: ComparisonResult) -> list[str]:
    """What a reader of the verdict must know as well, a line each."""
    missed = found.overall.missed
    if missed[0] == missed[1]:
        return list(found.notes)
    return [
        *found.notes,
        f"organs missed or invented: A {missed[0]}, B {missed[1]}; {found.criterion.name} can't count them, "
        "Dice can",
    ]


def class_difference_table(found: ComparisonResult) -> "Table":
    """A row a class, their mean, and each group of scans if there are several."""
    from rich.markup import escape
    from rich.table import Table

    cases = found.overall.difference.cases
    shown = Table(
        title=f"{found.criterion.title} ({found.criterion.better} is better), {len(found.scans)} scans of {cases} cases",
        caption=f"A: {escape(found.a.name)}   B: {escape(found.b.name)}{_legend_text(found)}",
        title_justify="left",
        caption_justify="left",
    )
    shown.add_column("")
    for header in ("A", "B", "B - A"):
        shown.add_column(header, justify="right", no_wrap=True)
    shown.add_column("better", justify="center")
    rows = [*found.classes, found.overall, *found.groups]
    for one in rows:
        name = f"{one.name} ({one.scans})" if one in found.groups else one.name
        digits = found.criterion.digits
        shown.add_row(
            escape(name),
            _mean_cell(one.a, one.missed[0], digits),
            _mean_cell(one.b, one.missed[1], digits),
            one.difference.to_text(digits, sign="+"),
            SIGNS[one.verdict],
            end_section=one is found.overall or one is found.classes[-1],
        )
    return shown


def scan_difference_table(found: ComparisonResult) -> "Table":
    """The scans that differ most, those better in A first."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title="scans that differ most", title_justify="left")
    shown.add_column("scan", no_wrap=True)
    for header in ("A", "B", "B - A"):
        shown.add_column(header, justify="right", no_wrap=True)
    shown.add_column("most in")
    digits = found.criterion.digits
    sign = 1 if found.criterion.better == "higher" else -1
    for_a = [one for one in found.by_scan if sign * one.difference < 0][:EACH]
    for_b = [one for one in found.by_scan if sign * one.difference > 0][-EACH:]
    for one in (*for_a, *for_b):
        shown.add_row(
            escape(one.scan),
            *(f"{value:z.{digits}f}" for value in (one.a, one.b)),
            f"{one.difference:+z.{digits}f}",
            f"{escape(one.most)} {one.most_difference:+z.{digits}f}",
            end_section=bool(for_a) and one is for_a[-1],
        )
    return shown


def result_json(found: ComparisonResult) -> str:
    """All of it, for programs."""
    return json.dumps(
        to_json_value(
            {
                "a": {"folder": found.a.name, "runs": found.a.found.runs},
                "b": {"folder": found.b.name, "runs": found.b.found.runs},
                "metric": found.criterion.name,
                "better": found.criterion.better,
                "verdict": found.overall.verdict,
                "told": verdict_sentence(found),
                "scans": found.scans,
                "overall": _row_json(found.overall),
                "classes": {one.name: _row_json(one) for one in found.classes},
                "groups": {one.name: _row_json(one) for one in found.groups},
                "by_scan": [dataclasses.asdict(one) for one in found.by_scan],
                "interval_method": METHOD,
                "notes": verdict_notes(found),
            }
        ),
        indent=1,
    )


def _row_json(one: DifferenceRow) -> dict[str, Any]:
    told = one.difference
    return {
        "a": one.a,
        "b": one.b,
        "difference": told.mean,
        "interval": (told.low, told.high) if told.has_interval else None,
        "scans": one.scans,
        "cases": told.cases,
        "missed": one.missed,
        "verdict": one.verdict,
    }


def _legend_text(found: ComparisonResult) -> str:
    signs = {SIGNS[one.verdict] for one in (*found.classes, found.overall, *found.groups)}
    told = "   ?: can't be told" if "?" in signs else ""
    missed = any(sum(one.missed) for one in found.classes)
    return told + ("   +n: n organs missed or invented, not in the mean" if missed else "")


def _mean_cell(value: float, missed: int, digits: int) -> str:
    text = "-" if math.isnan(value) else f"{value:z.{digits}f}"
    return f"{text} +{missed}" if missed else text


def _negated_estimate(told: Estimate) -> Estimate:
    return Estimate(-told.mean, -told.high, -told.low, told.cases)
