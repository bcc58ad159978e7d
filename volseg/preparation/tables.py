"""The findings of `volseg prepare` as a table, as lines and as JSON."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.data.layouts.findings import Finding, count_by_severity
from volseg.preparation.prepare import PreparationResult

if TYPE_CHECKING:
    from rich.table import Table

LINES = 20  # warnings on stderr; the table and the JSON have all
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
    """Notes, warnings and failures as lines for stderr; of many warnings the first."""
    notes = [one for one in result.findings if one.severity == "note"]
    yield from (f"note: {_located_message(one)}" for one in notes if one.kind != "excluded" or not one.scan)
    if result.excluded:
        yield f"note: excluded from training and scoring: {', '.join(result.excluded)}"
    warnings = [one for one in result.findings if one.severity == "warning"]
    yield from (f"warning: {_located_message(one)}" for one in warnings[:LINES])
    if len(warnings) > LINES:
        advice = "`volseg prepare --check` shows all in a table"
        yield f"warning: ... and {len(warnings) - LINES} more; {advice}"
    if result.removed:
        yield f"note: removed, not in the source any more: {', '.join(result.removed)}"
    if result.unchanged:
        yield f"note: {len(result.unchanged)} scans are unchanged and were not done again"
    yield from (f"failed: {failure.reason}" for failure in result.failures)


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


def _located_message(finding: Finding) -> str:
    """The message behind the scan's name, unless the message has it."""
    named = re.search(rf"(?<![\w-]){re.escape(finding.scan)}(?![\w-])", finding.message)
    return f"{finding.scan}: {finding.message}" if finding.scan and not named else finding.message
