"""Findings of one kind told in one line, the weightiest first."""

import re
from collections.abc import Iterable, Iterator, Sequence

from volseg.data.layouts.findings import Finding
from volseg.formatting import abbreviate_names, format_count

FEW = 3  # findings that are told one by one
LIGHT = ("vanishing organ", "intensity jump", "repeated slice", "constant slice", "repeated mask")
"""Kinds that are a trait of the dataset if most scans have them, and are told last, the last one last."""
HEAVY = ("mirrored", "outside the body", "sessions", "near name", "intensity", "rows without image", "header")
"""Kinds that are told first; others stand between."""
OTHER_SCAN = "of slices of"  # in the message of a slice or mask that two scans have
MOST_NAMES = 50  # of scans in a line; more are counted
FEWEST_SCANS = 4  # of a dataset that has traits
ALL = "`volseg prepare --check` lists them"


def group_lines(findings: Iterable[Finding], total: int) -> Iterator[str]:
    """Lines that begin with `warning:` or `note:` on findings of a dataset with so many scans.

    Those on the whole dataset and those of which there are few are told one by one, others by kind, with
    the scans that a person should look at by name. What most scans have is a note if it is no cause to
    look at each of them.
    """
    groups: dict[tuple[int, str, str], list[Finding]] = {}
    for finding in findings:
        form = finding.message if not finding.scan else _message_form(finding)
        groups.setdefault((_weight(finding), finding.kind, form), []).append(finding)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])
    notes = [line for _, group in ordered if _is_trait(group, total) for line in _lines(group, total)]
    yield from (line for _, group in ordered if not _is_trait(group, total) for line in _lines(group, total))
    yield from notes


def located_message(finding: Finding) -> str:
    """The message behind the scan's name, unless the message has it."""
    named = re.search(rf"(?<![\w-]){re.escape(finding.scan)}(?![\w-])", finding.message)
    return f"{finding.scan}: {finding.message}" if finding.scan and not named else finding.message


def _weight(finding: Finding) -> int:
    """A number that is the lower, the more a finding weighs."""
    if finding.kind in HEAVY:
        return HEAVY.index(finding.kind)
    return len(HEAVY) + (1 + LIGHT.index(finding.kind) if _is_light(finding) else 0)


def _is_light(finding: Finding) -> bool:
    """Whether a finding is of a light kind; what is found in two scans weighs more."""
    return finding.kind in LIGHT and OTHER_SCAN not in finding.message


def _message_form(finding: Finding) -> str:
    """The message without what differs between findings of one kind: classes, numbers and names."""
    text = finding.message
    for name in finding.classes:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "#", text)
    text = re.sub(r"\S*[0-9/]\S*", "#", text).replace("slices", "slice").replace("... and ", "")
    near = _are_neighbours(finding.slices) if finding.kind.startswith("repeated") else ""
    return f"{re.sub('#(,? #)+', '#', text)} {near}"


def _are_neighbours(slices: Sequence[int]) -> bool:
    return bool(slices) and max(slices) - min(slices) < len(slices)


def _is_trait(group: Sequence[Finding], total: int) -> bool:
    """Whether a group is of a light kind, and most scans have it."""
    scans = {finding.scan for finding in group}
    return _is_light(group[0]) and total >= FEWEST_SCANS and 2 * len(scans) > total


def _lines(group: Sequence[Finding], total: int) -> Iterator[str]:
    first = group[0]
    if len(group) <= FEW:
        yield from (f"{first.severity}: {located_message(finding)}" for finding in group)
        return
    scans = list(dict.fromkeys(finding.scan for finding in group))
    classes = list(dict.fromkeys(name for finding in group for name in finding.classes))
    named = f"{abbreviate_names(classes)}: " if classes else ""
    severity, trait = first.severity, ""
    if _is_trait(group, total):
        severity, trait = "note", ", a trait of this dataset rather than of single scans"
        copied = first.kind == "repeated mask" and _are_neighbours(first.slices)
        trait += " (slices copied or interpolated?)" if copied else ""
    yield (
        f"{severity}: {first.kind} in {_scans_text(scans, total, whole=not _is_light(first))}{trait}: "
        f"{named}{format_count(len(group), 'finding')}, such as {located_message(first)}; {ALL}"
    )


def _scans_text(scans: Sequence[str], total: int, *, whole: bool) -> str:
    """How many scans, and their names: all of them or the first few."""
    if len(scans) == total:
        return f"all {total} scans"
    names = ", ".join(scans) if whole and len(scans) <= MOST_NAMES else abbreviate_names(scans)
    return f"{len(scans)} of {total} scans ({names})"
