"""What was found in folders of DICOM: volumes, series that are refused, and structure sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.data.layouts.dicom.gate import Kind, Problem
from volseg.data.layouts.dicom.patient import is_same_patient
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.errors import UserError
from volseg.formatting import first_few, format_count

NOTHING = "holds no volume; expected the DICOM files of an MR or CT series"


class DicomError(UserError):
    """A folder of DICOM that gives not the one volume that is wanted; `kind` is a fixed word for programs."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class RefusedSeries:
    """A series, or a part of one, that is no volume: the first reason's kind, and a message of all.

    `label` says what it is, such as "MR, 2 slices of 256x256"; no text names the patient.
    """

    name: str
    kind: Kind
    message: str
    label: str
    series_uid: str = field(repr=False)


@dataclass(frozen=True)
class SeriesFacts:
    """What the header says of a volume beside its pixels and place. The texts may name the patient."""

    patient: tuple[str, str] = field(repr=False)
    study_date: str = field(repr=False)
    description: str = field(repr=False)
    echo_time_ms: float | None

    @property
    def patient_id(self) -> str:
        """The patient's number; '' where it is missing."""
        return self.patient[0]


@dataclass(frozen=True)
class StructureSetFile:
    """An RTSTRUCT and what it refers to; without references to series, all of its frame of reference."""

    path: Path = field(repr=False)
    patient: tuple[str, str] | None = field(repr=False)
    study_uid: str = field(repr=False)
    series_uids: frozenset[str] = field(repr=False)
    frame_of_reference_uids: frozenset[str] = field(repr=False)

    def refers_to(self, series: DicomSeries) -> bool:
        """Whether it says that its contours are drawn on a series."""
        if self.series_uids:
            return series.series_uid in self.series_uids
        return series.frame_of_reference_uid in self.frame_of_reference_uids - {""}


@dataclass(frozen=True)
class FoundSeries:
    """Volumes in an order of their content, what was refused, structure sets, and what was set aside.

    `facts` are those of each volume by its name; `notes` tell of duplicates and of files left out.
    """

    volumes: tuple[DicomSeries, ...]
    refused: tuple[RefusedSeries, ...]
    structure_sets: tuple[StructureSetFile, ...] = ()
    facts: Mapping[str, SeriesFacts] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def structures_of(self, series: DicomSeries) -> tuple[list[Path], int]:
        """The structure sets that were drawn on a volume, and how many are so by UID, but of another patient.

        One of another study counts as one of another patient.
        """
        referring = [one for one in self.structure_sets if one.refers_to(series)]
        facts = self.facts[series.name]
        own = [
            one.path
            for one in referring
            if one.study_uid == series.study_uid and is_same_patient(one.patient, facts.patient)
        ]
        return own, len(referring) - len(own)

    def refusals(self) -> list[str]:
        """A line for each refused series."""
        count = len(self.refused)
        return [
            f"refused series {number} of {count} ({one.label}), {one.kind}: {one.message}"
            for number, one in enumerate(self.refused, 1)
        ]

    def listing(self) -> list[str]:
        """A line for each volume: its number, its name and what it is."""
        return [
            f"{number}: {series.name} ({self.label(series)})" for number, series in enumerate(self.volumes, 1)
        ]

    def label(self, series: DicomSeries) -> str:
        """What a volume is; its echo time where another volume differs from it by that."""
        facts = self.facts.get(series.name)
        echoes = {one.echo_time_ms for name, one in self.facts.items()}
        told = facts is not None and facts.echo_time_ms is not None and len(echoes) > 1
        return (
            f"{series_label(series)}, echo time {facts.echo_time_ms:g} ms"
            if told and facts
            else series_label(series)
        )

    def pick(self, wanted: Sequence[str] = ()) -> tuple[DicomSeries, ...]:
        """The volumes of these numbers or names; without any, the only one.

        Raises:
            DicomError: several volumes and nothing that picks, no volume, or no such one.
        """
        if not self.volumes:
            kind = self.refused[0].kind if self.refused else "no volume"
            lines = self.refusals() or [NOTHING]
            raise DicomError("\n".join(f"DICOM: {line}" for line in first_few(lines, "series")), kind)
        if not wanted and len(self.volumes) > 1:
            text = f"{format_count(len(self.volumes), 'volume')}; pick by --series NUMBER or NAME"
            raise DicomError(
                f"DICOM: {text}:\n" + "\n".join(f"  {line}" for line in self.listing()), "several volumes"
            )
        picked = {}
        for one in wanted or ("1",):
            series = self._picked(one)
            picked[series.name] = series
        return tuple(picked.values())

    def _picked(self, wanted: str) -> DicomSeries:
        for number, series in enumerate(self.volumes, 1):
            if wanted in (str(number), series.name):
                return series
        lines = "\n".join(f"  {line}" for line in self.listing())
        refused = next((one for one in self.refused if one.name == wanted), None)
        if refused:
            raise DicomError(f"--series {wanted}: refused, {refused.kind}: {refused.message}", refused.kind)
        raise DicomError(f"--series {wanted[:60]}: no such volume; there are\n{lines}", "no such volume")


def series_label(series: DicomSeries) -> str:
    """What a volume is: modality, slices, rows x columns, and the distances of rows, columns, slices."""
    first, count = series.planes[0], len(series.planes)
    slice_mm = abs(series.planes[-1].distance_mm - first.distance_mm) / (count - 1)
    sizes = f"{first.row_spacing_mm:.2f}x{first.column_spacing_mm:.2f}x{slice_mm:.2f} mm"
    return f"{series.modality}, {count} slices of {first.rows}x{first.columns}, {sizes}"


def short_problems(problems: Sequence[Problem]) -> str:
    """The texts of all problems in one line."""
    return "; ".join(problem.text for problem in problems)
