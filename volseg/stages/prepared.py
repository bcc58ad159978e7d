"""What came of preparing or checking a dataset."""

from dataclasses import dataclass
from pathlib import Path

from volseg.data.layouts.findings import Failure, Finding, failures, faults


@dataclass(frozen=True)
class Prepared:
    """What was done. With `check`, `scans` would have been prepared and nothing is written.

    `unchanged` scans were there already; `removed` ones were, but are not in the source any more.
    """

    out: Path
    scans: tuple[str, ...]
    excluded: tuple[str, ...]
    findings: tuple[Finding, ...]
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The scans that can't be used, and why."""
        return failures(self.findings)

    @property
    def problems(self) -> tuple[str, ...]:
        """The faults of the whole dataset."""
        return faults(self.findings)

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks."""
        return tuple(one.message for one in self.findings if one.severity == "note")
