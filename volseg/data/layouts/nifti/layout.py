"""The layout of volumes with labels: Decathlon, nnU-Net, MONAI datalists, folders with a file a class."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from volseg.data.layouts.findings import Finding, error_findings, note_finding
from volseg.data.layouts.nifti import datalist
from volseg.data.layouts.nifti.label_files import ClassValues, label_values
from volseg.data.layouts.nifti.listing import Datalist, DatalistEntry
from volseg.data.layouts.nifti.session_names import session_warnings
from volseg.data.layouts.nifti.volume_scan import VolumeScan
from volseg.data.layouts.raw_dataset import RawDataset, UnusableScan
from volseg.data.scan_names import case_and_day
from volseg.data.volume_files import missing_reason, split_ending
from volseg.errors import UserError, nearest_hint
from volseg.formatting import first_few, natural_key
from volseg.schema import ClassName, Section


class Nifti(Section):
    """Volumes (NIfTI, mha, nrrd) with maps of integer labels or a mask file a class.

    The source is a folder with a dataset.json of the Decathlon or of nnU-Net, a MONAI datalist, or a folder
    of scans as in TotalSegmentator's dataset: s0000/ct.nii.gz and s0000/segmentations/liver.nii.gz. Cases
    and days are those that the listing states, else those of names like case123_day20 or sub-01_ses-02;
    any other file is a case of its own. `classes` picks some of the classes, in this order.
    """

    name: Literal["nifti"] = "nifti"
    classes: tuple[ClassName, ...] = ()

    def scans(self, root: Path) -> RawDataset:
        """The dataset that a listing names; volumes are read only where their labels have no names.

        Raises:
            UserError: no listing, or one of an unknown form.
        """
        listing = datalist.read(root)
        values = _named_values(listing)
        classes = _picked_classes(self.classes, values, listing)
        scans: list[VolumeScan] = []
        missing: dict[str, list[str]] = {}
        for entry in sorted(listing.entries, key=lambda entry: natural_key(entry.name)):
            if absent := list(_missing_files(entry, classes)):
                missing[entry.name] = absent
            else:
                scans.append(_scan_of_entry(entry, listing, values))
        unusable = {
            entry.name: UnusableScan(_case_of_entry(entry)[0], entry.part)
            for entry in listing.entries
            if entry.name in missing
        }
        return RawDataset(
            classes=classes,
            channels=listing.channels,
            exclusive=_are_exclusive(classes, values, listing),
            scans=tuple(scans),
            findings=tuple(_listing_findings(listing, missing)),
            unusable=unusable,
        )


def _are_exclusive(classes: Sequence[str], values: ClassValues, listing: Datalist) -> bool:
    """Whether no label value belongs to two classes; files of one class each may overlap."""
    counts = Counter(value for name, numbers in values if name in classes for value in numbers)
    return all(count == 1 for count in counts.values()) and not any(one.masks for one in listing.entries)


def _listing_findings(listing: Datalist, missing: dict[str, list[str]]) -> Iterator[Finding]:
    """The findings on the whole listing, and those on scans whose files are missing."""
    problems, near = list(listing.problems), list(listing.near.messages())
    if len(missing) == len(listing.entries) > 1:
        lines = list(missing.values())
        problems.append(f"{listing.path}: none of its {len(missing)} scans has its files: {lines[0][0]}")
        missing = {}
    yield from (Finding(scan="", severity="error", kind="dataset", message=line) for line in problems)
    for name, absent in missing.items():
        error = UserError.from_problems(first_few(absent, "files"))
        yield from error_findings(name, "missing file", error)
    for line in near:
        yield Finding(scan="", severity="warning", kind="near name", message=f"{listing.path}: {line}")
    for line in session_warnings([one.name for one in listing.entries if not one.case]):
        yield Finding(scan="", severity="warning", kind="sessions", message=f"{listing.path}: {line}")
    for line in (*listing.renaming_notes(), *listing.notes, *_unlisted_volumes(listing)):
        yield note_finding(line, kind="dataset")


def _picked_classes(picked: Sequence[str], values: ClassValues, listing: Datalist) -> tuple[str, ...]:
    """The classes that are asked for, or all."""
    known = tuple(name for name, _ in values)
    for name in picked if known else ():
        if name not in known:
            hint = nearest_hint(name, known)
            listing.problems.append(f"--classes {name}: no such class in {listing.path}{hint}")
    return tuple(dict.fromkeys(picked)) or known


def _scan_of_entry(entry: DatalistEntry, listing: Datalist, values: ClassValues) -> VolumeScan:
    case, day = _case_of_entry(entry)
    return VolumeScan(
        case=case,
        day=day,
        name=entry.name,
        part=entry.part,
        images=entry.images,
        label=entry.label,
        values=values,
        channel_names=listing.channels,
        named_in=listing.path,
        masks=entry.masks,
    )


def _case_of_entry(entry: DatalistEntry) -> tuple[str, int]:
    """Case and day as the listing states them, else by the scan's name."""
    case, day = case_and_day(entry.name)
    return entry.case or case, day if entry.day is None else entry.day


def _named_values(listing: Datalist) -> ClassValues:
    """The classes of the listing, or where it has none, numbered ones for the values of the labels."""
    if listing.values is not None or listing.problems:
        return listing.values or ()
    files = [entry.label for entry in listing.entries if entry.label]
    values = sorted({value for file in files for value in label_values(file)})
    classes = tuple((f"label_{value}", (value,)) for value in values)
    if classes:
        names = ", ".join(first_few([name for name, _ in classes], "classes"))
        listing.notes.append(
            f'{listing.path}: has no "labels"; by the values in the files the classes are {names}'
        )
    elif any(file.is_file() for file in files) or not files:
        listing.problems.append(f'{listing.path}: no "labels", and no file of labels to find them in')
    return classes


def _missing_files(entry: DatalistEntry, classes: Sequence[str]) -> Iterator[str]:
    """A line for each missing file."""
    for path in entry.images:
        if not path.is_file():
            yield f"{path}: {missing_reason(path)}; expected an image of {entry.name}"
    for path in entry.label_files:
        if not path.is_file():
            yield f"{path}: {missing_reason(path)}; expected the label of {entry.name}"
    unnamed = {*classes} - {name for name, _ in entry.masks} if entry.masks else ()
    if unnamed:
        named = ", ".join(sorted(unnamed))
        yield f"{entry.name}: no mask of {named}; give one for each class, an empty one where it is absent"


def _unlisted_volumes(listing: Datalist) -> Iterator[str]:
    """A note on volumes in imagesTr that no entry names."""
    listed = {os.path.realpath(path) for entry in listing.entries for path in entry.images}
    folder = listing.near.folder / "imagesTr"
    paths = (path for path in sorted(folder.glob("[!.]*")) if split_ending(path.name)[1])
    others = [path.name for path in paths if os.path.realpath(path) not in listed]
    if others:
        names = ", ".join(first_few(others, "files"))
        yield f"{folder}: {len(others)} files that {listing.path.name} does not name are left out: {names}"
