"""Data that lies in volumes already: Decathlon, nnU-Net, MONAI datalists."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from volseg.data.layouts.findings import Finding, error_findings, note_finding
from volseg.data.layouts.nifti import datalist, file_names
from volseg.data.layouts.nifti.datalist import Datalist, DatalistEntry
from volseg.data.layouts.nifti.volume_scan import ClassValues, VolumeScan, label_values
from volseg.data.layouts.raw_dataset import RawDataset
from volseg.data.splits import case_and_day
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
        """All scans that the listing names. Volumes are read only where it does not name their labels.

        Raises:
            UserError: no listing, or one of an unknown form.
        """
        listed = datalist.read(root)
        values = _named_values(listed)
        found, missing = [], []
        for entry in sorted(listed.entries, key=lambda entry: natural_key(entry.name)):
            faults = list(_missing_files(entry))
            if faults:
                told = UserError.from_problems(first_few(faults, "files"))
                missing += error_findings(entry.name, "missing file", told)
            else:
                found.append(_scan_of_entry(entry, listed, values))
        whole = [Finding(scan="", severity="error", kind="dataset", message=told) for told in listed.problems]
        notes = [note_finding(told, kind="dataset") for told in (*listed.notes, *_unlisted_volumes(listed))]
        return RawDataset(
            classes=tuple(name for name, _ in values),
            channels=listed.channels,
            exclusive=_are_exclusive(values),
            scans=tuple(found),
            findings=(*whole, *missing, *notes),
        )


def _scan_of_entry(entry: DatalistEntry, listed: Datalist, values: ClassValues) -> VolumeScan:
    case, day = case_and_day(entry.name)
    return VolumeScan(
        case=case,
        day=day,
        name=entry.name,
        part=entry.part,
        images=entry.images,
        label=entry.label,
        values=values,
        channel_names=listed.channels,
        named_in=listed.path,
    )


def _named_values(listed: Datalist) -> ClassValues:
    """The classes that the listing names, or numbered ones for the values that its labels hold."""
    if listed.values is not None or listed.problems:
        return listed.values or ()
    files = [entry.label for entry in listed.entries if entry.label]
    found = sorted({value for file in files for value in label_values(file)})
    class_names = [f"label_{value}" for value in found]
    if class_names:
        told = ", ".join(first_few(class_names, "classes"))
        listed.notes.append(
            f'{listed.path}: has no "labels"; by the values in the files the classes are {told}'
        )
    else:
        listed.problems.append(f'{listed.path}: no "labels", and no file of labels to find them in')
    return tuple((name, (value,)) for name, value in zip(class_names, found, strict=True))


def _are_exclusive(values: ClassValues) -> bool:
    """Whether no label value belongs to two classes."""
    counted = Counter(value for _, some in values for value in some)
    return all(count == 1 for count in counted.values())


def _missing_files(entry: DatalistEntry) -> Iterator[str]:
    """A line for each file that is not there."""
    for path in entry.images:
        if not path.is_file():
            yield f"{path}: no such file; expected an image of {entry.name}"
    if entry.label is not None and not entry.label.is_file():
        yield f"{entry.label}: no such file; expected the label of {entry.name}"


def _unlisted_volumes(listed: Datalist) -> Iterator[str]:
    """A remark on volumes beside the listed ones that no entry names."""
    named = {os.path.realpath(path) for entry in listed.entries for path in entry.images}
    folder = listed.path.parent / "imagesTr"
    left = [path.name for path in _list_volumes(folder) if os.path.realpath(path) not in named]
    if left:
        told = ", ".join(first_few(left, "files"))
        yield f"{folder}: {len(left)} files that {listed.path.name} does not name are left out: {told}"


def _list_volumes(folder: Path) -> Sequence[Path]:
    files = sorted(folder.glob("*")) if folder.is_dir() else []
    return [
        path for path in files if path.name.endswith(file_names.ENDINGS) and not path.name.startswith(".")
    ]
