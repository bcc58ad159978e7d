"""What `volseg prepare` found, as a table, as lines and as JSON."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.data.layouts.findings import Finding, count_by_severity
from volseg.preparation.prepare import PreparationResult

if TYPE_CHECKING:
    from rich.table import Table

LINES = 20
"""Warnings that a run tells one by one; all of them are in the table and the JSON."""
STYLES = {"error": "bold red", "warning": "yellow", "note": ""}


def findings_table(done: PreparationResult) -> "Table":
    """All findings, a row each, grouped by scan; those of the whole dataset come first."""
    from rich.table import Table
    from rich.text import Text

    told = Table("scan", "severity", "kind", "finding", title=None)
    before = None
    for one in done.findings:
        if before not in (None, one.scan):
            told.add_section()
        name = "" if one.scan == before else one.scan or "(dataset)"
        severity = Text(one.severity, STYLES[one.severity])
        told.add_row(Text(name), severity, one.kind, Text(one.message))
        before = one.scan
    return told


def finding_lines(done: PreparationResult) -> Iterator[str]:
    """Notes, warnings and failures as lines for stderr; of many warnings the first."""
    notes = [one for one in done.findings if one.severity == "note"]
    yield from (f"note: {_located_message(one)}" for one in notes if one.kind != "excluded" or not one.scan)
    if done.excluded:
        yield f"note: excluded from training and scoring: {', '.join(done.excluded)}"
    warnings = [one for one in done.findings if one.severity == "warning"]
    yield from (f"warning: {_located_message(one)}" for one in warnings[:LINES])
    if len(warnings) > LINES:
        yield (
            f"warning: ... and {len(warnings) - LINES} more; `volseg prepare --check` shows all in a table"
        )
    if done.removed:
        yield f"note: removed, not in the source any more: {', '.join(done.removed)}"
    if done.unchanged:
        yield f"note: {len(done.unchanged)} scans are unchanged and were not done again"
    yield from (f"failed: {failure.reason}" for failure in done.failures)


def summary_line(done: PreparationResult, *, checked: bool) -> str:
    """One line: what was written, and how much was found."""
    total = len(done.scans) + len(done.failures)
    found = count_by_severity(done.findings)
    told = ", ".join(f"{n} {kind}{'s' * (n != 1)}" for kind, n in found.items())
    written = "nothing written" if checked else str(done.out)
    return f"{written}: {len(done.scans)} of {total} scans without a fault ({told})"


def as_json(done: PreparationResult, source: Path) -> str:
    """Everything found, for programs."""
    values = {
        "source": source.as_posix(),
        "scans": len(done.scans) + len(done.failures),
        "good": len(done.scans),
        "counts": count_by_severity(done.findings),
        "findings": [_finding_values(one) for one in done.findings],
    }
    return json.dumps(values, indent=1)


def _finding_values(one: Finding) -> dict[str, object]:
    return {**one.model_dump(mode="json"), "scan": one.scan or None}


def _located_message(one: Finding) -> str:
    """The message with the scan in front, unless it names a place itself."""
    named = re.search(rf"(?<![\w-]){re.escape(one.scan)}(?![\w-])", one.message)
    return f"{one.scan}: {one.message}" if one.scan and not named else one.message
