"""Predictions as their records say now; one that can't be read stops its own scan, not the folder."""

from pathlib import Path

from volseg.errors import UserError
from volseg.formatting import natural_key
from volseg.inference.prediction_folder import (
    RECORD,
    Prediction,
    gathered_scans,
    load_predictions,
    scan_folders,
)
from volseg.inference.prediction_record import PredictionRecord
from volseg.system.json_files import read_json

AGAIN = "run `volseg infer` again"


def read_predictions(folder: Path) -> list[Prediction]:
    """All predicted scans in natural order; those that can't be read have failed, for that reason.

    Raises:
        UserError: no folder of predictions, or none of which anything can be read.
    """
    try:
        return load_predictions(folder, check_corrections=False)
    except UserError as error:
        scans = [_read_or_failed(folder / name) for name in _scan_names(folder)]
        if all(one.status == "failed" for one in scans):
            raise error from None
        return scans


def read_prediction(folder: Path) -> Prediction:
    """A scan's prediction.

    Raises:
        UserError: its record is gone, damaged, another scan's or of no class.
    """
    path = folder / RECORD
    if not path.is_file():
        raise UserError(f"{path}: is gone or was never written; {AGAIN}")
    record = read_json(path, PredictionRecord, again=AGAIN)
    if record.scan != folder.name:
        raise UserError(f"{path}: is the record of {record.scan}; expected one of {folder.name}")
    if record.status == "done" and not record.classes:
        raise UserError(f"{path}: names no class; {AGAIN}")
    return Prediction.model_validate({**record.model_dump(), "folder": folder})


def _read_or_failed(folder: Path) -> Prediction:
    try:
        return read_prediction(folder)
    except UserError as error:
        return Prediction.model_construct(
            scan=folder.name, status="failed", reason=str(error), classes=(), seen="unknown", folder=folder
        )


def _scan_names(folder: Path) -> list[str]:
    """The folders with a record or masks, and the scans that predictions.json names."""
    inside = scan_folders(folder) if folder.is_dir() else ()
    gathered = (name for name in gathered_scans(folder) if name == Path(name).name)
    return sorted({*(path.name for path in inside), *gathered}, key=natural_key)
