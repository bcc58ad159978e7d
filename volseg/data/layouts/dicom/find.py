"""Series of DICOM in folders: their volumes in order, and what is refused with its reason."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from volseg.data.layouts.dicom import headers
from volseg.data.layouts.dicom.duplicates import drop_duplicates, same_bytes_once
from volseg.data.layouts.dicom.files import find_dicom_files
from volseg.data.layouts.dicom.found_series import (
    FoundSeries,
    RefusedSeries,
    SeriesFacts,
    StructureSetFile,
    short_problems,
)
from volseg.data.layouts.dicom.gate import (
    Problem,
    find_problems,
    find_scale_problems,
    image_problem,
    main_problem,
)
from volseg.data.layouts.dicom.header_values import read_text, require_pydicom
from volseg.data.layouts.dicom.headers import FileHeader, Slice
from volseg.data.layouts.dicom.identity import find_mixture_problems, find_patient_problems
from volseg.data.layouts.dicom.part_names import part_name
from volseg.data.layouts.dicom.quiet_reading import silenced_pydicom
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.layouts.dicom.splitting import (
    MOST_ORIENTATIONS,
    find_time_problems,
    split_directions,
    split_slices,
)
from volseg.data.layouts.dicom.structure_references import read_references
from volseg.formatting import format_count
from volseg.system.salt import salted_name, user_salt

NO_FRAME = Problem(
    "no frame of reference",
    "its header names none (anonymised?), so contours can't be tied to it; "
    "--allow-no-frame takes it for masks alone",
)


def find_series(
    paths: Sequence[Path], *, salt: bytes | None = None, allow_no_frame: bool = False
) -> FoundSeries:
    """The volumes, refused series and structure sets in folders and files of DICOM.

    Names are salted hashes by this user's salt, if no other is given. A series without a frame of reference
    is refused unless it is allowed.

    Raises:
        UserError: pydicom is not installed, or there are too many files.
    """
    require_pydicom()
    finder = _Finder(salt or user_salt(), allow_no_frame=allow_no_frame)
    with silenced_pydicom():
        for path in find_dicom_files(paths):
            finder.take_file(path)
        return finder.found()


def open_series(
    folder: Path, series: str | None = None, *, salt: bytes | None = None, allow_no_frame: bool = False
) -> DicomSeries:
    """The one volume in a folder of DICOM, or the one of this number or name.

    Raises:
        DicomError: several volumes and nothing that picks one, none, or no such one.
    """
    found = find_series([folder], salt=salt, allow_no_frame=allow_no_frame)
    return found.pick([series] if series else [])[0]


class _Finder:
    """Collects the slices of each series, then judges them."""

    def __init__(self, salt: bytes, *, allow_no_frame: bool) -> None:
        self._salt, self._allow_no_frame = salt, allow_no_frame
        self._slices: dict[tuple[str, ...], list[Slice]] = defaultdict(list)
        self._structures: list[Path] = []
        self._names: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._notes: list[str] = []
        self._volumes: list[tuple[tuple[object, ...], DicomSeries, SeriesFacts]] = []
        self._refused: list[tuple[tuple[object, ...], RefusedSeries]] = []

    def take_file(self, path: Path) -> None:
        """Read the header of a file and put its planes with their series."""
        dataset = headers.read_header(path)
        if dataset is None or not len(dataset):
            self._left_out["can't be read (damaged, deflated, or with a header beyond any need)"] += 1
            return
        file = headers.read_file(dataset, path)
        if file.sop_class_uid == headers.RTSTRUCT or read_text(dataset, "Modality") == "RTSTRUCT":
            self._structures.append(path)
        elif not read_text(dataset, "Rows"):
            self._left_out["hold no image (reports, plans, presentation states)"] += 1
        elif file.sop_class_uid.startswith(headers.SEGMENTATIONS):
            self._left_out["are segmentations or doses, which are not read"] += 1
        else:
            self._slices[_series_key(file)] += headers.read_slices(dataset, file)

    def found(self) -> FoundSeries:
        """All series, judged."""
        for slices in self._slices.values():
            self._judge_series(slices)
        structure_sets = self._read_structure_sets()
        for reason, count in sorted(self._left_out.items()):
            self._notes.append(f"{format_count(count, 'file')} left out: {reason}")
        volumes = [(series, facts) for _, series, facts in sorted(self._volumes, key=lambda one: one[0])]
        return FoundSeries(
            volumes=tuple(series for series, _ in volumes),
            refused=tuple(one for _, one in sorted(self._refused, key=lambda one: one[0])),
            structure_sets=structure_sets,
            facts={series.name: facts for series, facts in volumes},
            notes=tuple(self._notes),
        )

    def _read_structure_sets(self) -> tuple[StructureSetFile, ...]:
        """The structure sets, each once."""
        paths = same_bytes_once(self._structures)
        if len(paths) < len(self._structures):
            self._left_out["are an RTSTRUCT that is there twice"] += len(self._structures) - len(paths)
        return tuple(one for path in paths for one in read_references(path))

    def _judge_series(self, slices: list[Slice]) -> None:
        """Sort the slices of one series into volumes and refused parts."""
        problems = find_patient_problems(slices)
        if problems:
            self._refuse(slices, problems)
            return
        fitting = self._without_unfit(slices)
        if not fitting:
            return
        problems = find_mixture_problems(fitting)
        if any(one.plane is None for one in fitting):
            problems += find_problems(fitting)
        elif len(split_directions(fitting)) > MOST_ORIENTATIONS:
            text = f"its {len(fitting)} slices have more than {MOST_ORIENTATIONS} orientations; expected one"
            problems.append(Problem("mixed orientation", text))
        if problems:
            self._refuse(fitting, problems)
            return
        self._judge_parts(fitting)

    def _judge_parts(self, fitting: list[Slice]) -> None:
        """Take the parts of a series as volumes, each that is one."""
        parts = split_slices(fitting)
        if _is_mixed(parts):
            text = _mixed_text(fitting)
            self._refuse(fitting, [Problem("mixed orientation", text)])
            return
        for part in parts:
            self._judge_part(part)

    def _without_unfit(self, slices: list[Slice]) -> list[Slice]:
        """The images that can be slices of a volume, each once; where there is none the series is refused."""
        problems = [(one, image_problem(one)) for one in slices]
        fitting = [one for one, problem in problems if problem is None]
        unfit = [problem for _, problem in problems if problem]
        if not fitting:
            self._refuse(slices, [main_problem(unfit)])
            return []
        for problem, count in Counter(unfit).items():
            self._notes.append(f"{format_count(count, 'image')} left out: each {problem.text}")
        fitting, doubles = drop_duplicates(fitting)
        if doubles:
            self._notes.append(f"{format_count(doubles, 'image')} left out: the same image and pixels twice")
        return fitting

    def _judge_part(self, part: list[Slice]) -> None:
        """Take slices of one form as a volume, or refuse them."""
        found = find_problems(part)
        found += (find_time_problems(part) if not found else []) + find_scale_problems(part)
        if not found and not part[0].file.frame_of_reference_uid and not self._allow_no_frame:
            found = [NO_FRAME]
        if found:
            self._refuse(part, found)
        else:
            self._accept(part)

    def _accept(self, part: list[Slice]) -> None:
        file = part[0].file
        series = DicomSeries(
            name=self._name(part),
            modality=file.modality,
            study_uid=file.study_uid,
            series_uid=file.series_uid,
            frame_of_reference_uid=file.frame_of_reference_uid,
            planes=tuple(one.plane for one in part if one.plane),
            acquired_in_3d=file.acquired_in_3d and file.modality == "MR",
        )
        facts = SeriesFacts(
            patient=file.patient or ("", ""),
            study_date=file.study_date,
            description=file.description,
            echo_time_ms=part[0].echo[0],
        )
        self._volumes.append((_place_in_list(part, series.name), series, facts))

    def _refuse(self, part: list[Slice], problems: Sequence[Problem]) -> None:
        file = part[0].file
        name = self._name(part)
        size = f"{format_count(len(part), 'slice')} of {file.rows}x{file.columns}"
        label = f"{file.modality or 'other images'}, {size}"
        refused = RefusedSeries(name, problems[0].kind, short_problems(problems), label, file.series_uid)
        self._refused.append((_place_in_list(part, name), refused))

    def _name(self, part: list[Slice]) -> str:
        """A name that no other part of what was found has."""
        name = part_name(part, self._salt)
        self._names[name] += 1
        count = self._names[name]
        return name if count == 1 else salted_name("scan", name, str(count), salt=self._salt)


def case_name(patient_id: str, series: DicomSeries, *, salt: bytes | None = None) -> str:
    """A name for the patient, the same for all of one's series; one without an id is its study's patient."""
    known = ("patient", patient_id) if patient_id else ("study", series.study_uid or series.name)
    return salted_name("case", *known, salt=salt or user_salt())


def _series_key(file: FileHeader) -> tuple[str, ...]:
    """The series of a file; files of one folder without such a UID are one."""
    return (file.series_uid,) if file.series_uid else ("", str(file.path.parent))


def _is_mixed(parts: Sequence[list[Slice]]) -> bool:
    """Whether parts of several orientations are no volumes, as one of them has too few slices."""
    directions = split_directions([part[0] for part in parts])
    few = any(problem.kind == "too few slices" for part in parts for problem in find_problems(part))
    return len(directions) > 1 and few


def _mixed_text(slices: Sequence[Slice]) -> str:
    counts = sorted((len(group) for group in split_directions(slices)), reverse=True)
    shown = ", ".join(map(str, counts[:6])) + (", ..." if len(counts) > 6 else "")
    return f"its {len(slices)} slices have {len(counts)} orientations ({shown} slices); expected one"


def _place_in_list(part: Sequence[Slice], name: str) -> tuple[object, ...]:
    file = part[0].file
    return (file.study_date, file.study_time, file.series_number, part[0].echo[0] or 0.0, name)
