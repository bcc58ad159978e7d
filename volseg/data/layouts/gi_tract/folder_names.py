"""Folders that are left out, as their names are not those of cases and scans."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from volseg.data.layouts.findings import Finding, note_finding
from volseg.data.layouts.gi_tract.slice_files import visible_folders
from volseg.data.layouts.gi_tract.slice_scan import NAME
from volseg.formatting import first_few

PHANTOM = "PHANTOM.txt"
"""A file in the folder of a phantom, by which `prepare` knows that its scans are synthetic."""

_NEAR_CASE = re.compile(r"case[ ._-]*([0-9]+)", re.IGNORECASE)
_NEAR_SCAN = re.compile(rf".*?{_NEAR_CASE.pattern}[ ._-]*day[ ._-]*([0-9]+).*", re.IGNORECASE)


def folder_findings(root: Path, cases: Sequence[Path]) -> Iterator[Finding]:
    """A warning on all folders with nearly the names of cases and scans, and a note on all others."""
    left_out = [
        folder
        for part in ("train", "test")
        if (root / part).is_dir()
        for folder in visible_folders(root / part)
        if not NAME.fullmatch(f"{folder.name}_day0")
    ]
    for case in cases:
        left_out += [folder for folder in visible_folders(case) if not NAME.fullmatch(folder.name)]
    near = {folder: meant for folder in left_out if (meant := _meant_name(folder.name))}
    others = [str(folder) for folder in left_out if folder not in near]
    if near:
        pairs = [f"{str(folder)!r} for {meant}" for folder, meant in near.items()]
        message = (
            f"{root}: {len(near)} folders have nearly the names of cases or scans and are left out; "
            f"rename them: {', '.join(first_few(pairs, 'folders'))}"
        )
        yield Finding(scan="", severity="warning", kind="near name", message=message)
    if others:
        listed = ", ".join(first_few(others, "folders"))
        expected = "case123 or case123_day20"
        yield note_finding(f"{root}: left out, not named like {expected}: {listed}", kind="dataset")


def _meant_name(name: str) -> str:
    """The name of a case or scan that this one nearly is, or ''."""
    if scan := _NEAR_SCAN.fullmatch(name):
        return f"case{int(scan[1])}_day{int(scan[2])}"
    case = _NEAR_CASE.fullmatch(name.strip())
    return f"case{int(case[1])}" if case else ""
