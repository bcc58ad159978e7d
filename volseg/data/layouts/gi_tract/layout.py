"""Folders of PNG slices and a table of masks: the layout of the UW-Madison GI tract competition."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from volseg.data import competition
from volseg.data.layouts.findings import Finding, error_findings, note_finding
from volseg.data.layouts.gi_tract import annotations
from volseg.data.layouts.gi_tract.annotations import Annotations
from volseg.data.layouts.gi_tract.folder_names import PHANTOM, folder_findings
from volseg.data.layouts.gi_tract.slice_files import EXAMPLE, find_slices, slice_folder, visible_folders
from volseg.data.layouts.gi_tract.slice_scan import NAME, SLICE_MM, SliceScan, with_slice_files
from volseg.data.layouts.raw_dataset import Part, RawDataset, UnusableScan, duplicate_names
from volseg.data.scan_names import case_and_day
from volseg.data.volume import LARGEST_MM, SMALLEST_MM
from volseg.errors import UserError
from volseg.formatting import first_few, format_count, natural_key
from volseg.schema import ClassName, Section

CSV = annotations.FILE
COMPETITION = ("train", "test", CSV, "sample_submission.csv")
"""What its folder holds, some of it hidden from the public."""
EXPECTED = f"expected train/case123/case123_day20/scans/{EXAMPLE}"


class GITract(Section):
    """Folders of 16-bit PNG slices and train.csv, as in the UW-Madison GI tract competition.

    The root holds `train` or `test` or both, or the cases themselves; `part` leaves the other out. With
    `allow_gaps` a scan whose slice numbers have holes is stacked from the slices there are.
    """

    name: Literal["gi-tract"] = "gi-tract"
    slice_mm: float = Field(default=SLICE_MM, ge=SMALLEST_MM, le=LARGEST_MM)
    allow_gaps: bool = False
    part: Literal["all", "train", "test"] = "all"
    classes: tuple[Annotated[ClassName, Field(pattern=r"^\w[\w .+-]{0,59}$")], ...] = competition.CLASSES

    # The data author leaves these out of evaluation (DOMAIN: happyharrycn's data tools).
    bad_scans: ClassVar[tuple[str, ...]] = (
        "case7_day0", "case9_day27", "case13_day0", "case34_day20", "case43_day18", "case43_day26",
        "case61_day14", "case81_day30", "case83_day11", "case124_day19", "case138_day0",
        "case144_day15",
    )  # fmt: skip

    @field_validator("classes")
    @classmethod
    def _each_once(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError(f"a class is named twice: {', '.join(classes)}")
        return classes

    def scans(self, root: Path) -> RawDataset:
        """The dataset below a root: scans by case and day, with their rows of train.csv; no pixels are read.

        Where only the test part is asked for, the competition's folder without one gives a dataset without
        scans, and a note.

        Raises:
            UserError: no such folder, or no cases in it.
        """
        cases, notes = _find_cases(root, self.part)
        read, failed, unusable = self._read_cases(cases)
        labels, remarks, problems = _read_annotations(root, self.classes, self.part)
        known = {scan.name for scan in read} | {finding.scan for finding in failed}
        problems += duplicate_names(read)
        rows = labels.rows if labels else {}
        scans = [replace(scan, rows=rows.get(scan.name)) for scan in read]
        faults = [Finding(scan="", severity="error", kind="dataset", message=line) for line in problems]
        notes += [*remarks, *_scans_without_rows(scans, labels)]
        return RawDataset(
            classes=self.classes,
            channels=("mr",),
            exclusive=False,  # organs overlap in the real labels
            scans=tuple(scans),
            findings=(
                *faults,
                *failed,
                *(_rows_without_folder(labels, known) if labels else ()),
                *folder_findings(root, [case for _, case in cases]),
                *(note_finding(note, kind="dataset") for note in notes),
            ),
            bad_scans=self.bad_scans if self._is_listed else (),
            unusable=unusable,
            synthetic=(root / PHANTOM).is_file(),
        )

    @property
    def _is_listed(self) -> bool:
        """Whether the list of scans with bad labels is of these data."""
        return self.part != "test" and competition.is_of_competition(self.name, self.classes)

    def _read_cases(
        self, cases: Sequence[tuple[Part, Path]]
    ) -> tuple[list[SliceScan], list[Finding], dict[str, UnusableScan]]:
        """The scans in case folders, and errors of those that can't be read, with what their names tell."""
        scans, failed, unusable = [], [], {}
        for part, case in cases:
            days = [day for day in visible_folders(case) if NAME.fullmatch(day.name)]
            if not days:
                reason = f"{case}: no scans; expected {case.name}_day0/scans/{EXAMPLE}"
                failed += error_findings(case.name, "slices", UserError(reason))
                unusable[case.name] = UnusableScan(case.name, part)
            for day in days:
                try:
                    scans.append(self._read_scan(part, case, day))
                except UserError as error:
                    failed += error_findings(day.name, "slices", error)
                    unusable[day.name] = UnusableScan(case_and_day(day.name)[0], part, _slice_numbers(day))
        return sorted(scans, key=lambda scan: natural_key(scan.name)), failed, unusable

    def _read_scan(self, part: Part, case: Path, folder: Path) -> SliceScan:
        named = NAME.fullmatch(folder.name)
        if named is None or named[1] != case.name:
            raise UserError(f"{folder}: lies in the folder of {case.name}; expected {case.name}_day<number>")
        scan = SliceScan(case.name, int(named[2]), folder.name, part, folder)
        return with_slice_files(scan, slice_mm=self.slice_mm, allow_gaps=self.allow_gaps)


def _slice_numbers(scan: Path) -> tuple[int, ...]:
    """The numbers in the names of the slices in a scan's folder, though they may make no stack."""
    try:
        slices, _ = find_slices(slice_folder(scan))
    except UserError:
        return ()  # the folder can't be read, which is the scan's own error
    return tuple(dict.fromkeys(file.number for file in slices))


def _find_cases(root: Path, wanted: Part | Literal["all"]) -> tuple[list[tuple[Part, Path]], list[str]]:
    """The case folders below a root that holds `train`, `test` or the cases themselves, and notes."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        hint = ", did you mean --layout nifti?" if root.is_file() and root.suffix == ".json" else ""
        raise UserError(f"{root}: {what}; {EXPECTED}{hint}")
    parts: list[tuple[Part, Path]] = [("train", root / "train"), ("test", root / "test")]
    if not any(folder.is_dir() for _, folder in parts):
        labelled = root.name == "train" or (root / CSV).is_file()
        parts = [("train" if labelled else "test", root)]
    there = [(part, folder) for part, folder in parts if folder.is_dir() and wanted in ("all", part)]
    folders = [(part, one) for part, folder in there for one in visible_folders(folder)]
    cases = [(part, folder) for part, folder in folders if NAME.fullmatch(f"{folder.name}_day0")]
    if not cases and wanted == "test" and any((root / name).exists() for name in COMPETITION):
        hidden = "so nothing is prepared (the competition hides them until it scores)"
        return [], [f"{root}: no test scans, {hidden}"]
    if not cases:
        inner = [folder for folder in visible_folders(root) if (folder / "train").is_dir()]
        hint = f", did you mean {inner[0]}?" if len(inner) == 1 else ""
        if any(root.glob("*.json")) or (root / "imagesTr").is_dir():
            hint = ", did you mean --layout nifti?"
        raise UserError(f"{root}: no cases; {EXPECTED}{hint}")
    return cases, []


def _read_annotations(
    root: Path, classes: Sequence[str], wanted: Part | Literal["all"]
) -> tuple[Annotations | None, list[str], list[str]]:
    """The rows of train.csv or None, notes, and faults of the whole file; test scans have none."""
    path = root / CSV
    if wanted == "test":
        return None, [], []
    if os.path.lexists(path) and not path.is_file():
        return None, [], [f"{path}: is no file, or a link to none; expected id,class,segmentation"]
    if not path.is_file():
        above = root.resolve().parent / CSV
        hint = f" (there is one in {above.parent}: did you mean that?)" if above.is_file() else ""
        return None, [f"{root}: no {CSV}, so the scans are prepared without labels{hint}"], []
    try:
        labels = annotations.read(path, classes)
    except UserError as error:
        return None, [], [str(error)]
    return labels, [], list(labels.problems)


def _rows_without_folder(labels: Annotations, known: set[str]) -> Iterator[Finding]:
    """A warning on rows of cases and scans without a folder; cases without scans are errors of their own."""
    cases = {case_and_day(name)[0] for name in known}
    missing = [name for name in sorted(labels.rows, key=natural_key) if name not in known]
    case_of = {name: case_and_day(name)[0] for name in missing}
    absent = {
        "case": list(dict.fromkeys(case for case in case_of.values() if case not in cases)),
        "scan": [name for name, case in case_of.items() if case in cases and case not in known],
    }
    texts = [
        f"{format_count(len(names), what)} ({', '.join(first_few(names, f'{what}s'))})"
        for what, names in absent.items()
        if names
    ]
    if texts:
        message = f"{labels.path}: has rows of {' and '.join(texts)} without a folder; they are left out"
        yield Finding(scan="", severity="warning", kind="rows without image", message=message)


def _scans_without_rows(scans: Sequence[SliceScan], labels: Annotations | None) -> Iterator[str]:
    """A note on training scans without rows in train.csv."""
    bare = [scan.name for scan in scans if scan.part == "train" and scan.rows is None]
    if bare and labels is not None:
        listed = ", ".join(first_few(bare, "scans"))
        yield f"{labels.path}: no rows for {listed}; prepared without labels"
