"""The kinds of findings, checked against the code that reports them."""

import ast
from pathlib import Path

import volseg
from volseg_pages import markdown

PACKAGE = Path(volseg.__file__).parent
ROOMS = ("preparation", "data/layouts", "data/volume_files")
"""Where findings are made."""
MEANINGS = {
    "dataset": (
        "error, note",
        "the dataset as a whole: damaged rows of `train.csv`, two scans of one name, a listing none of whose "
        "files is there; as a note, scans without rows, folders and files that are left out",
    ),
    "rows without image": (
        "warning",
        "`train.csv` has rows of cases, scans or slices that are not there; they are left out",
    ),
    "near name": (
        "warning",
        "files that are there under nearly the name that the listing gives (another ending, with or without "
        "`_0000`, backslashes, capitals, the folders of another computer) and are taken; folders with nearly "
        "the names of cases and scans, which are left out",
    ),
    "sessions": (
        "warning",
        "names that differ in a last number look like several scans of each patient, who then may be "
        "trained on and validated on: state the `case` of each scan",
    ),
    "slices": (
        "error",
        "slices that are missing, there twice, misnamed or of different sizes; a gap between them; a case "
        "without scans",
    ),
    "missing file": ("error", "an image or a label file that the listing names is not there"),
    "image": (
        "error",
        "a slice or volume that is damaged, of the wrong size or type, or holds NaN; channels that are "
        "missing or on different grids",
    ),
    "labels": (
        "error",
        "run-length codes that are no masks of this size; rows that do not fit the slices; a damaged label "
        "file, one on another grid than the image, or one with values that the listing does not name",
    ),
    "label values": (
        "warning",
        "labels that are nearly whole numbers were rounded, or a mask has another value than 1 or 255",
    ),
    "dicom": (
        "error, note",
        "a series of DICOM that is no volume, with its reason (a missing slice, a tilted gantry); as a note, "
        "localisers, pictures, reports and files that are left out",
    ),
    "structures": (
        "warning, note",
        "a series is taken without labels, as its RTSTRUCT lacks a class, has it twice or can't be read; as "
        "a note, structures that not all series have",
    ),
    "contours": ("warning", "contours of an RTSTRUCT that are skipped, or drawn otherwise than they lie"),
    "memory": ("error", "there was not enough memory to read the scan"),
    "killed": ("error", "the process that read the scan ended"),
    "header": (
        "warning",
        "the header of a volume states no orientation, gives lengths in another unit than mm (they are "
        "converted), has axes that are not at right angles, or contradicts itself: its qform and sform lie "
        "apart; bytes behind the end of the file's data",
    ),
    "grid": (
        "warning",
        "a file lies beside the scan's first one by less than a twentieth of a voxel at the farthest corner, "
        "and is taken to lie on it, or its axes are turned and were turned back",
    ),
    "no organ": ("warning", "a scan has labels, but no voxel of any class"),
    "constant slice": ("warning", "a slice has one value only"),
    "repeated slice": ("warning", "slices with identical pixels, in one scan or in two"),
    "repeated mask": ("warning", "masks that are identical, on slices of one scan or of two"),
    "intensity jump": (
        "warning",
        "the mean intensity of the body changes from one slice to the next by at least 40 % and by eight "
        "times what is usual in the scan",
    ),
    "vanishing organ": ("warning", "a class is missing on one slice, but there before and after"),
    "outside the body": ("warning", "more than 5 % of a class lie in the blank around the body"),
    "mirrored": (
        "warning",
        "classes lie as in other cases only with left and right, front and back, or head and foot exchanged",
    ),
    "intensity": (
        "warning",
        "more than a tenth of a class lies well beyond the 0.5 and 99.5 percentiles of the image, so that "
        "the default `data.intensity` makes one value of it; set other percentiles, or a window",
    ),
    "excluded": (
        "note",
        "a scan on the data author's list of bad labels, or named by `--exclude`: prepared, but left out of "
        "training and scoring",
    ),
    "gap": ("note", "slices are missing, and `--allow-gaps` let that pass"),
    "size": ("note", "another matrix or voxel size than most days of the case"),
    "orientation": ("note", "voxel axes that run otherwise than in most scans"),
}
"""Severity and meaning by kind, as they stand in `--json`."""


def kinds() -> str:
    """A row a kind.

    Raises:
        ValueError: the code knows other kinds than this table.
    """
    texts, used = _strings(), _kinds_in_calls()
    if wrong := [*({*MEANINGS} - texts), *(used - {*MEANINGS})]:
        raise ValueError(f"kinds of findings that code and docs do not share: {', '.join(sorted(wrong))}")
    rows = ((markdown.code(kind), severity, meaning) for kind, (severity, meaning) in MEANINGS.items())
    return markdown.table(("kind", "severity", "what was found"), rows)


def _trees() -> list[ast.Module]:
    return [
        ast.parse(path.read_text(encoding="utf-8"))
        for room in ROOMS
        for path in sorted((PACKAGE / room).rglob("*.py"))
    ]


def _strings() -> set[str]:
    """All texts in the code."""
    nodes = (node for tree in _trees() for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _kinds_in_calls() -> set[str]:
    """Texts that are passed as `kind=`, or to methods that make findings of errors or warnings."""
    calls = [node for tree in _trees() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [word.value for call in calls for word in call.keywords if word.arg == "kind"]
    for call in calls:
        name = ast.unparse(call.func)
        place = 1 if "error_findings" in name else 0 if name.startswith("self.") and "warn" in name else None
        found += call.args[place : place + 1] if place is not None else []
    return {str(node.value) for node in found if isinstance(node, ast.Constant)}
