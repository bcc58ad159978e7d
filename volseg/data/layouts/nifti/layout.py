"""The layout of volumes with label maps: Decathlon, nnU-Net, MONAI datalists."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from volseg.data.layouts.findings import Finding, error_findings, note_finding
from volseg.data.layouts.nifti import datalist, file_names
from volseg.data.layouts.nifti.datalist import Datalist, DatalistEntry
from volseg.data.layouts.nifti.volume_scan import ClassValues, VolumeScan, label_values
from volseg.data.layouts.raw_dataset import RawDataset
from volseg.data.scan_names import case_and_day
from volseg.errors import UserError
from volseg.formatting import first_few, natural_key
from volseg.schema import Section


class Nifti(Section):
    """Volumes (NIfTI, mha, nrrd) with maps of integer labels, listed in a JSON file.

    The source is a folder with a dataset.json of the Decathlon or of nnU-Net, or a MONAI datalist.
    Files named like case123_day20 are days of one case; any other file is a case of its own.
    """

    name: Literal["nifti"] = "nifti"

    def scans(self, root: Path) -> RawDataset:
        """The dataset that a listing names; volumes are read only where their labels have no names.

        Raises:
            UserError: no listing, or one of an unknown form.
        """
        listing = datalist.read(root)
        values = _named_values(listing)
        scans, missing = [], []
        for entry in sorted(listing.entries, key=lambda entry: natural_key(entry.name)):
            if absent := list(_missing_files(entry)):
                error = UserError.from_problems(first_few(absent, "files"))
                missing += error_findings(entry.name, "missing file", error)
            else:
                scans.append(_scan_of_entry(entry, listing, values))
        faults = [
            Finding(scan="", severity="error", kind="dataset", message=line) for line in listing.problems
        ]
        notes = [note_finding(line, kind="dataset") for line in (*listing.notes, *_unlisted_volumes(listing))]
        counts = Counter(value for _, numbers in values for value in numbers)
        return RawDataset(
            classes=tuple(name for name, _ in values),
            channels=listing.channels,
            exclusive=all(count == 1 for count in counts.values()),  # no label value belongs to two classes
            scans=tuple(scans),
            findings=(*faults, *missing, *notes),
        )


def _scan_of_entry(entry: DatalistEntry, listing: Datalist, values: ClassValues) -> VolumeScan:
    case, day = case_and_day(entry.name)
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
    )


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
    else:
        listing.problems.append(f'{listing.path}: no "labels", and no file of labels to find them in')
    return classes


def _missing_files(entry: DatalistEntry) -> Iterator[str]:
    """A line for each missing file."""
    for path in entry.images:
        if not path.is_file():
            yield f"{path}: no such file; expected an image of {entry.name}"
    if entry.label is not None and not entry.label.is_file():
        yield f"{entry.label}: no such file; expected the label of {entry.name}"


def _unlisted_volumes(listing: Datalist) -> Iterator[str]:
    """A note on volumes in imagesTr that no entry names."""
    listed = {os.path.realpath(path) for entry in listing.entries for path in entry.images}
    folder = listing.path.parent / "imagesTr"
    paths = (path for path in sorted(folder.glob("[!.]*")) if path.name.endswith(file_names.ENDINGS))
    others = [path.name for path in paths if os.path.realpath(path) not in listed]
    if others:
        names = ", ".join(first_few(others, "files"))
        yield f"{folder}: {len(others)} files that {listing.path.name} does not name are left out: {names}"
