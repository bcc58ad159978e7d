"""Findings on a dataset's scans: errors, warnings and notes."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from volseg.schema import Section

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Finding(Section):
    """A finding on a scan, or on the whole dataset if `scan` is empty.

    An error leaves the scan out, a warning asks a person to look, a note only informs. `kind` is a
    fixed word for programs; `slices` are source numbers (counted from 1 where there are none); `classes`
    are those that it is about.
    """

    scan: str
    severity: Severity
    kind: str
    message: str
    slices: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()


class ScanFailure(NamedTuple):
    """A scan, or a case without scans, that can't be used, and a line for each reason."""

    name: str
    reason: str


def error_findings(scan: str, kind: str, problem: Exception) -> list[Finding]:
    """A finding for each line of an error."""
    lines = str(problem).splitlines()
    return [Finding(scan=scan, severity="error", kind=kind, message=line) for line in lines]


def note_finding(message: str, *, kind: str, scan: str = "") -> Finding:
    """A note on a scan or on the whole dataset."""
    return Finding(scan=scan, severity="note", kind=kind, message=message)


def dataset_faults(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The errors of the whole dataset."""
    return tuple(one.message for one in findings if one.severity == "error" and not one.scan)


def scan_failures(findings: Iterable[Finding]) -> tuple[ScanFailure, ...]:
    """The scans with errors, each with all its reasons, in the order of the findings."""
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        if finding.severity == "error" and finding.scan:
            reasons.setdefault(finding.scan, []).append(finding.message)
    return tuple(ScanFailure(name, "\n".join(lines)) for name, lines in reasons.items())


def count_by_severity(findings: Sequence[Finding]) -> dict[Severity, int]:
    """The number of findings of each severity."""
    return {severity: sum(one.severity == severity for one in findings) for severity in SEVERITIES}
