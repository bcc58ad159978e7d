"""`volseg contours`: predicted masks as RTSTRUCT and SEG of the series that they were predicted from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.arguments import ContoursArguments
from volseg.data.layouts.dicom.find import find_series
from volseg.data.layouts.dicom.header_values import require_pydicom
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.dicom.object_files import check_output_folder, write_objects
from volseg.dicom.organ_codes import OrganTable, read_organ_table
from volseg.dicom.predicted_organs import read_organs, with_probabilities
from volseg.dicom.rtstruct import OrganMask, empty_organs, make_rtstruct
from volseg.dicom.scan_series import SeriesFinder, check_patient, check_references
from volseg.dicom.segmentation import make_segmentation, require_highdicom
from volseg.dicom.source_header import MadeBy
from volseg.errors import OutputError, UserError
from volseg.formatting import join_names
from volseg.inference.corrections import correction_notes
from volseg.inference.prediction_folder import RECORD, Prediction, load_predictions
from volseg.inference.prediction_record import PredictionRecord

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RTSTRUCT, SEG = "_rtstruct.dcm", "_seg.dcm"  # behind a scan's name


@dataclass(frozen=True)
class ContoursResult:
    """The files that were written, notes for the user, and why scans have none, by name."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]
    failed: Mapping[str, str]


def check_ready(options: ContoursArguments) -> None:
    """Raise a UserError where a library is missing, or the folder can't be written: before hours of work."""
    require_pydicom()
    if options.kind != "rtstruct":
        require_highdicom()
    check_output_folder(options.out)


def contours(predictions: Path, series: Sequence[Path], options: ContoursArguments) -> ContoursResult:
    """Write the objects of each scan in a folder of predictions, or of the one whose folder it is.

    A scan's series is the one of its name; of a scan that was predicted from a file it is the one with
    its grid. Its image must be the one that was predicted.

    Raises:
        UserError: no predictions, no series, wrong settings, a full disk, or no scan that has its objects.
    """
    check_ready(options)
    if missing := [path for path in series if not path.exists()]:
        raise UserError.from_problems(f"{path}: no such file or folder of DICOM" for path in missing)
    scans = _load(predictions)
    found = find_series(series)
    if not found.volumes:
        found.pick()  # tells why
    matched, failed = {}, {}
    finder = SeriesFinder(found.volumes)
    for scan in scans:
        try:
            matched[scan.scan] = finder.series_of(scan)
        except UserError as error:
            failed[scan.scan] = str(error)
    result = write_contours([scan for scan in scans if scan.scan in matched], matched, options)
    notes = (*found.notes, *(f"DICOM: {line}" for line in found.refusals()), *result.notes)
    failed.update(result.failed)
    if len(failed) == len(scans):
        raise UserError.from_problems(f"{scan}: {why}" for scan, why in failed.items())
    return ContoursResult(result.files, notes, failed)


def contours_of_records(
    records: Sequence[PredictionRecord],
    folder: Path,
    series: Mapping[str, DicomSeries],
    options: ContoursArguments,
) -> ContoursResult:
    """Write the objects of scans that were just predicted into a folder; those not from DICOM have none.

    Raises:
        UserError: no scan is from DICOM, wrong settings, or a full disk.
    """
    scans = [
        Prediction.model_validate({**record.model_dump(), "folder": folder / record.scan})
        for record in records
        if record.status == "done"
    ]
    dicom = [scan for scan in scans if scan.scan in series]
    if not dicom:
        raise UserError("--dicom-out: none of the scans was read from DICOM; masks alone were written")
    result = write_contours(dicom, series, options)
    others = (
        f"{scan.scan}: was not read from DICOM, so it has no RTSTRUCT and no SEG"
        for scan in scans
        if scan.scan not in series
    )
    return replace(result, notes=(*result.notes, *others))


def write_contours(
    predictions: Sequence[Prediction], series: Mapping[str, DicomSeries], options: ContoursArguments
) -> ContoursResult:
    """Write the objects of scans whose series are known, by the scans' names.

    Raises:
        UserError: wrong settings, or a full disk.
    """
    table = read_organ_table(options.organs)
    files: list[Path] = []
    failed: dict[str, str] = {}
    notes = list(correction_notes(predictions))
    for prediction in predictions:
        if prediction.status == "failed":
            failed[prediction.scan] = prediction.reason or "has no masks"
            continue
        try:
            check_references(series[prediction.scan], series.values())
            made = _write_objects(prediction, series[prediction.scan], table, options)
            files += made.files
            notes += made.notes
        except OutputError:
            raise
        except UserError as error:
            failed[prediction.scan] = str(error).removeprefix(f"{prediction.scan}: ")
    return ContoursResult(tuple(files), tuple(notes), failed)


def _write_objects(
    prediction: Prediction, series: DicomSeries, table: OrganTable, options: ContoursArguments
) -> ContoursResult:
    """Write the objects of one scan, all or none; earlier ones are removed where nothing is left."""
    check_patient(prediction, series)
    organs = read_organs(prediction, series, table)
    made_by = MadeBy(prediction.made_by, prediction.weights, unlike=bool(prediction.outside))
    notes = list(_content_notes(prediction, organs, options))
    objects: dict[Path, Dataset | None] = {}
    if options.kind != "seg":
        path = options.out / f"{prediction.scan}{RTSTRUCT}"
        objects[path] = make_rtstruct(series, organs, made_by=made_by)
    if options.kind != "rtstruct":
        path = options.out / f"{prediction.scan}{SEG}"
        if options.fractional:
            organs = list(with_probabilities(organs, prediction, series))
        objects[path] = make_segmentation(series, organs, made_by=made_by, fractional=options.fractional)
    made = {path: dataset for path, dataset in objects.items() if dataset is not None}
    write_objects(made)
    for path in objects.keys() - made.keys():
        path.unlink(missing_ok=True)
    return ContoursResult(tuple(made), tuple(notes), {})


def _content_notes(
    prediction: Prediction, organs: Sequence[OrganMask], options: ContoursArguments
) -> Iterator[str]:
    """What the objects of a scan do not hold, or hold otherwise than its masks."""
    if not prediction.image_hash:
        yield (
            f"{prediction.scan}: its record does not know the image that it was predicted from; its series "
            "was found by name alone"
        )
    empty = empty_organs(organs)
    if empty:
        rest = "; nothing is left to write" if len(empty) == len(organs) else ""
        yield f"{prediction.scan}: empty, so left out: {join_names(empty)}{rest}"
    corrected = [organ.organ for organ in organs if organ.corrected]
    if corrected and options.fractional:
        yield (
            f"{prediction.scan}: the SEG has the network's probabilities, not the masks that were corrected "
            f"by hand: {join_names(corrected)}"
        )


def _load(folder: Path) -> list[Prediction]:
    """The predictions in a folder, or the one whose folder it is."""
    if not (folder / RECORD).is_file():
        return load_predictions(folder)
    siblings = load_predictions(folder.resolve().parent)
    return [one for one in siblings if one.scan == folder.resolve().name]
