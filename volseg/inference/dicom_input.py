"""Folders of DICOM among the inputs: the volumes in them that are to be predicted."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.data.layouts.dicom.files import holds_dicom, is_dicom_file
from volseg.data.layouts.dicom.find import case_name, find_series
from volseg.data.layouts.dicom.found_series import DicomError, FoundSeries
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.layouts.gi_tract.slice_files import find_slices, slice_folder
from volseg.data.volume_files import split_ending
from volseg.errors import UserError

ALL = "all"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DicomInput:
    """A volume of DICOM to predict, and its case: neither name tells the patient."""

    series: DicomSeries
    case: str


def is_dicom_input(path: Path) -> bool:
    """Whether a path is a file of DICOM, or a folder with some at any depth and not of volumes or slices.

    Other pictures beside them, such as the thumbnails of an archive, change nothing.
    """
    if path.is_file():
        return not split_ending(path.name)[1] and is_dicom_file(path)
    if not path.is_dir():
        return False
    volumes = any(split_ending(one.name)[1] for one in path.iterdir() if one.is_file())
    return not volumes and not find_slices(slice_folder(path))[0] and holds_dicom(path)


def find_dicom_inputs(
    paths: Sequence[Path], wanted: Sequence[str] = (), *, allow_no_frame: bool = False
) -> list[DicomInput]:
    """The volumes of DICOM that are wanted: of each folder its only one, those of these names, or `all`.

    Files make one folder together. A number counts in the list of the only folder. What is refused beside
    a volume that is taken is logged.

    Raises:
        UserError: folders without a volume, or with several of which none is wanted; all of them.
    """
    found = _find_in_groups(paths, wanted, allow_no_frame=allow_no_frame)
    picked: list[DicomInput] = []
    errors: list[DicomError] = []
    for number, one in enumerate(found, 1):
        try:
            volumes = one.volumes if ALL in wanted and one.volumes else one.pick(wanted)
        except DicomError as error:
            where = f"folder {number} of {len(found)}: " if len(found) > 1 else ""
            errors.append(DicomError(f"{where}{error}", error.kind))
            continue
        for line in (*one.notes, *one.refusals()):
            log.warning("DICOM: %s", line)
        picked += [
            DicomInput(series, case_name(one.facts[series.name].patient_id, series)) for series in volumes
        ]
    names = Counter(one.series.name for one in picked)
    errors += [
        DicomError(f"{name}: named twice; name each series once", "named twice")
        for name, count in names.items()
        if count > 1
    ]
    if errors:
        raise DicomError("\n".join(map(str, errors)), errors[0].kind)
    return picked


def _find_in_groups(
    paths: Sequence[Path], wanted: Sequence[str], *, allow_no_frame: bool
) -> list[FoundSeries]:
    """What is in each folder, and in all files together; in one where names are wanted."""
    files = [path for path in paths if path.is_file()]
    groups = [[path] for path in paths if not path.is_file()] + ([files] if files else [])
    if len(groups) > 1 and any(name.isdecimal() for name in wanted):
        raise UserError("--series: a number counts in one folder; with several, pick by the names of volumes")
    found = [find_series(group, allow_no_frame=allow_no_frame) for group in groups]
    return [_joined(found)] if len(found) > 1 and wanted else found


def _joined(found: Sequence[FoundSeries]) -> FoundSeries:
    """All that was found, as in one folder."""
    return FoundSeries(
        volumes=tuple(series for one in found for series in one.volumes),
        refused=tuple(refused for one in found for refused in one.refused),
        facts={name: facts for one in found for name, facts in one.facts.items()},
        notes=tuple(note for one in found for note in one.notes),
    )
