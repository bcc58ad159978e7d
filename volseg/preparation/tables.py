"""The findings of `volseg prepare` as a table, as lines and as JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.data.layouts.findings import count_by_severity
from volseg.preparation.finding_groups import group_lines
from volseg.preparation.prepare import PreparationResult

if TYPE_CHECKING:
    from rich.table import Table

LINES = 10  # failed scans that are told one by one; the table and the JSON have all
STYLES = {"error": "bold red", "warning": "yellow", "note": ""}


def findings_table(result: PreparationResult) -> "Table":
    """All findings, a row each, grouped by scan; those of the whole dataset come first."""
    from rich.table import Table
    from rich.text import Text

    table = Table("scan", "severity", "kind", "finding", title=None)
    previous = None
    for finding in result.findings:
        if previous not in (None, finding.scan):
            table.add_section()
        name = "" if finding.scan == previous else finding.scan or "(dataset)"
        severity = Text(finding.severity, STYLES[finding.severity])
        table.add_row(Text(name), severity, finding.kind, Text(finding.message))
        previous = finding.scan
    return table


def finding_lines(result: PreparationResult) -> Iterator[str]:
    """Failures, warnings and notes as lines for stderr, the weightiest first, many alike in one line."""
    yield from _failure_lines(result)
    total = len(result.scans) + len(result.failures)
    warnings = [one for one in result.findings if one.severity == "warning"]
    yield from group_lines(warnings, total)
    notes = [one for one in result.findings if one.severity == "note"]
    yield from group_lines([one for one in notes if one.kind != "excluded" or not one.scan], total)
    if result.excluded:
        yield f"note: excluded from training and scoring: {', '.join(result.excluded)}"
    if result.removed:
        yield f"note: removed, not in the source any more: {', '.join(result.removed)}"
    if result.unchanged:
        yield f"note: {len(result.unchanged)} scans are unchanged and were not done again"


def _failure_lines(result: PreparationResult) -> Iterator[str]:
    """A line for each failed scan, or of many a line for each kind of fault."""
    failures = result.failures
    if len(failures) <= LINES:
        yield from (f"failed: {failure.reason}" for failure in failures)
        return
    errors = [one for one in result.findings if one.severity == "error" and one.scan]
    total = len(result.scans) + len(failures)
    yield from (f"failed: {line.removeprefix('error: ')}" for line in group_lines(errors, total))


def summary_line(result: PreparationResult, *, checked: bool) -> str:
    """One line: the output folder and the numbers of scans and findings."""
    total = len(result.scans) + len(result.failures)
    counts = count_by_severity(result.findings).items()
    findings = ", ".join(f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts)
    place = "nothing written" if checked else str(result.out)
    return f"{place}: {len(result.scans)} of {total} scans without a fault ({findings})"


def as_json(result: PreparationResult, source: Path) -> str:
    """All findings, for programs."""
    values = {
        "source": source.as_posix(),
        "scans": len(result.scans) + len(result.failures),
        "good": len(result.scans),
        "counts": count_by_severity(result.findings),
        "findings": [{**one.model_dump(mode="json"), "scan": one.scan or None} for one in result.findings],
    }
    return json.dumps(values, indent=1)
