"""Predictions as their records say now; one that can't be read stops its own scan, not the folder."""

import json
from contextlib import suppress
from pathlib import Path

from volseg.errors import UserError
from volseg.formatting import natural_key
from volseg.inference.prediction_folder import RECORD, RECORDS, Prediction, load_predictions
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
    inside = folder.iterdir() if folder.is_dir() else ()
    names = {
        path.name
        for path in inside
        if not path.name.startswith(".") and ((path / RECORD).is_file() or any(path.glob("*.nii.gz")))
    }
    with suppress(OSError, ValueError, KeyError, TypeError):  # there is none, or it is damaged
        gathered = [str(record["scan"]) for record in json.loads((folder / RECORDS).read_bytes())]
        names |= {name for name in gathered if name == Path(name).name}
    return sorted(names, key=natural_key)
