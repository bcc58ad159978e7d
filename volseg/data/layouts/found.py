"""What a layout found below a root."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from volseg.data.layouts.findings import Finding
from volseg.data.layouts.raw_dataset import RawScan


@dataclass(frozen=True)
class Found:
    """The facts of a dataset, its scans to use, and all that names and texts tell about it.

    `exclusive` says that classes never overlap; `bad_scans` are those with labels known to be bad.
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    exclusive: bool
    scans: tuple[RawScan, ...]
    findings: tuple[Finding, ...] = ()
    bad_scans: tuple[str, ...] = ()


def twice(scans: Sequence[RawScan]) -> Iterator[str]:
    """A line for each name that several scans have."""
    for name, count in Counter(scan.name for scan in scans).items():
        if count > 1:
            places = " and ".join(str(scan.source) for scan in scans if scan.name == name)
            yield f"{name}: is in {places}; keep one of them"
