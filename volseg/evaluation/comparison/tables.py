"""The result of a comparison as a sentence, as tables and as JSON."""

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


def verdict_sentence(result: ComparisonResult) -> str:
    """The verdict on all scans, in one line."""
    overall, by = result.overall, result.criterion
    difference = overall.difference
    if overall.verdict == "same":
        return f"no difference: {by.title} is the same on all {overall.scans} scans"
    if overall.verdict in ("A", "B"):
        size = difference if difference.mean > 0 else _negated_estimate(difference)
        return (
            f"{overall.verdict} is better: {by.title} is {by.better} by {size.to_text(by.digits)}, "
            f"{difference.interval_basis}"
        )
    text = f"{by.title} of B - A is {difference.to_text(by.digits, sign='+')}"
    separator = "," if difference.has_interval else ";"
    return f"no difference can be told: {text}{separator} {difference.interval_basis}"


def verdict_notes(result: ComparisonResult) -> list[str]:
    """What a reader of the verdict must know as well, a line each."""
    missed = result.overall.missed
    if missed[0] == missed[1]:
        return list(result.notes)
    return [
        *result.notes,
        f"organs missed or invented: A {missed[0]}, B {missed[1]}; {result.criterion.name} can't count them, "
        "Dice can",
    ]


def class_difference_table(result: ComparisonResult) -> "Table":
    """A row a class, their mean, and each group of scans if there are several."""
    from rich.markup import escape
    from rich.table import Table

    by, cases = result.criterion, result.overall.difference.cases
    table = Table(
        title=f"{by.title} ({by.better} is better), {len(result.scans)} scans of {cases} cases",
        caption=f"A: {escape(result.a.name)}   B: {escape(result.b.name)}{_legend_text(result)}",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for header in ("A", "B", "B - A"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("better", justify="center")
    for row in (*result.classes, result.overall, *result.groups):
        table.add_row(
            escape(f"{row.name} ({row.scans})" if row in result.groups else row.name),
            _mean_cell(row.a, row.missed[0], by.digits),
            _mean_cell(row.b, row.missed[1], by.digits),
            row.difference.to_text(by.digits, sign="+"),
            SIGNS[row.verdict],
            end_section=row is result.overall or row is result.classes[-1],
        )
    return table


def scan_difference_table(result: ComparisonResult) -> "Table":
    """The scans that differ most, those better in A first."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="scans that differ most", title_justify="left")
    table.add_column("scan", no_wrap=True)
    for header in ("A", "B", "B - A"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("most in")
    digits = result.criterion.digits
    sign = 1 if result.criterion.better == "higher" else -1
    for_a = [scan for scan in result.by_scan if sign * scan.difference < 0][:EACH]
    for_b = [scan for scan in result.by_scan if sign * scan.difference > 0][-EACH:]
    for scan in (*for_a, *for_b):
        table.add_row(
            escape(scan.scan),
            *(f"{value:z.{digits}f}" for value in (scan.a, scan.b)),
            f"{scan.difference:+z.{digits}f}",
            f"{escape(scan.most)} {scan.most_difference:+z.{digits}f}",
            end_section=bool(for_a) and scan is for_a[-1],
        )
    return table


def result_json(result: ComparisonResult) -> str:
    """The whole result, for programs."""
    values = {
        "a": {"folder": result.a.name, "runs": result.a.scorable.runs},
        "b": {"folder": result.b.name, "runs": result.b.scorable.runs},
        "metric": result.criterion.name,
        "better": result.criterion.better,
        "verdict": result.overall.verdict,
        "told": verdict_sentence(result),
        "scans": result.scans,
        "overall": _row_json(result.overall),
        "classes": {row.name: _row_json(row) for row in result.classes},
        "groups": {row.name: _row_json(row) for row in result.groups},
        "by_scan": [dataclasses.asdict(scan) for scan in result.by_scan],
        "interval_method": METHOD,
        "notes": verdict_notes(result),
    }
    return json.dumps(to_json_value(values), indent=1)


def _row_json(row: DifferenceRow) -> dict[str, Any]:
    difference = row.difference
    return {
        "a": row.a,
        "b": row.b,
        "difference": difference.mean,
        "interval": (difference.low, difference.high) if difference.has_interval else None,
        "scans": row.scans,
        "cases": difference.cases,
        "missed": row.missed,
        "verdict": row.verdict,
    }


def _legend_text(result: ComparisonResult) -> str:
    signs = {SIGNS[row.verdict] for row in (*result.classes, result.overall, *result.groups)}
    undecided = "   ?: can't be told" if "?" in signs else ""
    missed = any(sum(row.missed) for row in result.classes)
    return undecided + ("   +n: n organs missed or invented, not in the mean" if missed else "")


def _mean_cell(value: float, missed: int, digits: int) -> str:
    text = "-" if math.isnan(value) else f"{value:z.{digits}f}"
    return f"{text} +{missed}" if missed else text


def _negated_estimate(estimate: Estimate) -> Estimate:
    return Estimate(-estimate.mean, -estimate.high, -estimate.low, estimate.cases)
