"""The layout of DICOM: series of MR or CT, and the structure sets (RTSTRUCT) of clinicians as labels."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Literal, NamedTuple

from volseg.data.layouts.dicom.dicom_scan import DicomScan
from volseg.data.layouts.dicom.find import case_name, find_series
from volseg.data.layouts.dicom.found_series import NOTHING, FoundSeries, RefusedSeries
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.layouts.dicom.structure_classes import SeriesStructures, common_classes, read_structures
from volseg.data.layouts.findings import Finding, note_finding
from volseg.data.layouts.raw_dataset import RawDataset, UnusableScan
from volseg.errors import UserError
from volseg.formatting import format_count
from volseg.schema import ClassName, Section

NO_VOLUMES = ("colour image", "localiser", "projection", "secondary capture", "other images")
"""What lies beside volumes in any study: a note tells it, and no scan is missing."""


class Dicom(Section):
    """Folders of DICOM: each series of MR or CT is a scan, the structures of its RTSTRUCT are its labels.

    Files are found at any depth, whatever they are called. Cases are patients, by a salted hash of their
    identity number, and days count from a patient's first study. Classes are the structures that every
    RTSTRUCT has; `classes` picks some of all, in this order, by their names with or without capitals and
    separators. A series without an RTSTRUCT, or whose RTSTRUCT lacks a class, is a test scan without
    labels. `allow_no_frame` takes series without a frame of reference.
    """

    name: Literal["dicom"] = "dicom"
    classes: tuple[ClassName, ...] = ()
    allow_no_frame: bool = False

    def scans(self, root: Path) -> RawDataset:
        """The dataset in a folder; pixels are not read.

        Raises:
            UserError: no such folder, or pydicom is not installed.
        """
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; expected one with the DICOM files of series")
        found = find_series([root], allow_no_frame=self.allow_no_frame)
        findings = [*_notes(found)]
        structures = {series.name: read_structures(*found.structures_of(series)) for series in found.volumes}
        labelled = [one for one in structures.values() if one.names]
        classes, notes, problems = common_classes(labelled, self.classes)
        findings += (note_finding(text, kind="structures") for text in notes)
        problems += [*_modality_problems(found)]
        if not found.volumes and not found.refused:
            problems.append(f"DICOM: {NOTHING}")
        findings += (Finding(scan="", severity="error", kind="dataset", message=text) for text in problems)
        refused = [one for one in found.refused if one.kind not in NO_VOLUMES]
        findings += (_refusal(one) for one in refused)
        return RawDataset(
            classes=classes,
            channels=(found.volumes[0].modality.lower() if found.volumes else "image",),
            exclusive=False,
            scans=tuple(_scans(found, structures, classes)),
            findings=tuple(findings),
            unusable={one.name: UnusableScan(one.name, "test") for one in refused},
            name="dicom",
        )


class _Place(NamedTuple):
    """The case of a scan, and its day since the first study."""

    case: str
    day: int


def _scans(
    found: FoundSeries, structures: Mapping[str, SeriesStructures], classes: Sequence[str]
) -> Iterator[DicomScan]:
    """The scans of all volumes, by case and day."""
    places = _places(found)
    counts = Counter(places.values())
    for series in found.volumes:
        place, drawn = places[series.name], structures[series.name].drawn(classes)
        name = f"{place.case}_day{place.day}"
        if counts[place] > 1:  # which of a day's series it is
            name = f"{name}_{series.name.replace('_', '')}"
        yield DicomScan(
            case=place.case,
            day=place.day,
            name=name,
            part="train" if drawn else "test",
            series=series,
            drawn=drawn,
            warnings=tuple(structures[series.name].warnings(classes)),
        )


def _places(found: FoundSeries) -> dict[str, _Place]:
    """The case and the day of each volume by its name."""
    cases = {series.name: case_name(found.facts[series.name].patient_id, series) for series in found.volumes}
    dates = {series.name: _study_date(found, series) for series in found.volumes}
    first: dict[str, date] = {}
    for name, day in dates.items():
        if day is not None:
            first[cases[name]] = min(day, first.get(cases[name], day))
    days = {name: (day - first[cases[name]]).days if day else 0 for name, day in dates.items()}
    return {name: _Place(case, days[name]) for name, case in cases.items()}


def _study_date(found: FoundSeries, series: DicomSeries) -> date | None:
    text = found.facts[series.name].study_date
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _notes(found: FoundSeries) -> Iterator[Finding]:
    """Notes on files and series that are no scans."""
    for text in found.notes:
        yield note_finding(text, kind="dicom")
    kinds: dict[str, list[RefusedSeries]] = defaultdict(list)
    for one in found.refused:
        kinds[one.kind].append(one)
    for kind in NO_VOLUMES:
        if kinds[kind]:
            yield note_finding(f"{len(kinds[kind])} series left out: {kind}", kind="dicom")
    unused = sum(not any(one.refers_to(series) for series in found.volumes) for one in found.structure_sets)
    if unused:
        yield note_finding(f"{format_count(unused, 'RTSTRUCT')} of none of the series left out", kind="dicom")


def _refusal(one: RefusedSeries) -> Finding:
    text = f"{one.name} ({one.label}): {one.kind}: {one.message}"
    return Finding(scan=one.name, severity="error", kind="dicom", message=text)


def _modality_problems(found: FoundSeries) -> Iterator[str]:
    counts = Counter(series.modality for series in found.volumes)
    if len(counts) > 1:
        told = " and ".join(f"{count} of {modality}" for modality, count in sorted(counts.items()))
        yield f"DICOM: holds series {told}; prepare a folder of each, as a network is of one kind"
