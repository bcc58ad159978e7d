"""The folder that `volseg infer` writes, as the stages after it read it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from volseg import __version__
from volseg.errors import UserError
from volseg.formatting import natural_key
from volseg.postprocessing import StepChange
from volseg.system.files import write_text

RECORD, RECORDS, RLE = "record.json", "predictions.json", "rle.csv"


class Flag(BaseModel):
    """Something unusual about one organ: which sign it is, and a sentence for people."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sign: str
    text: str


class Confidence(BaseModel):
    """How far one organ's mask is to be trusted, and where to look.

    `dice` is the Dice that the probabilities expect of the mask (None: nothing was found), as they are
    where they are not `calibrated`. `agreement` is the mean Dice between two passes, None for one.
    `slices` are ranges, the worst first, by source numbers; where there are none, from 0 along the file's
    axis from head to feet or back.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    dice: float | None
    calibrated: bool
    volume_ml: float
    agreement: float | None = None
    flags: tuple[Flag, ...] = ()
    slices: tuple[tuple[int, int], ...] = ()


class PredictionRecord(BaseModel):
    """What `record.json` says of one scan; keys of later versions are passed over.

    `seen` is what training saw: this very scan, another day of its case, or nothing of the case; of
    several runs, the most that any saw. `fold_set` is the run's set the scan was in. `key` is the
    hash of all that the masks were made from: image, weights and settings. `changes` tells by class what
    each step of cleaning did (records of earlier versions lack it), `confidence` how far to trust it;
    `check` are the slices to look at first, all organs together.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    scan: str
    status: Literal["done", "failed"]
    reason: str = ""
    run: str = ""
    weights: str = ""
    classes: tuple[str, ...]
    fold_set: str = "other"
    seen: Literal["scan", "case", "none"]
    key: str = ""
    seconds: dict[str, float] = {}
    changes: dict[str, tuple[StepChange, ...]] = {}
    confidence: dict[str, Confidence] = {}
    check: tuple[tuple[int, int], ...] = ()
    version: str = __version__


def read_record(folder: Path) -> PredictionRecord | None:
    """The record of a scan's folder; None where it has none that this version can read."""
    path = folder / RECORD
    try:
        return PredictionRecord.model_validate_json(path.read_bytes()) if path.is_file() else None
    except ValidationError:
        return None


def write_record(record: PredictionRecord, folder: Path) -> None:
    """Write a scan's record into its folder."""
    write_text(folder / RECORD, record.model_dump_json(indent=1) + "\n")


def read_records(out: Path) -> list[PredictionRecord]:
    """All records below a folder that can be read, in order of their names."""
    found = [read_record(path.parent) for path in sorted(out.glob(f"*/{RECORD}"))]
    return [record for record in found if record]


def gather_records(out: Path) -> None:
    """Collect all records below `out` into `predictions.json`."""
    values = [record.model_dump() for record in read_records(out)]
    write_text(out / RECORDS, json.dumps(values, indent=1) + "\n")


class Prediction(PredictionRecord):
    """A record and the folder it lies in."""

    folder: Path

    def mask_file(self, name: str) -> Path:
        """The file of one class's mask."""
        return self.folder / f"{name}.nii.gz"

    @property
    def missing_classes(self) -> list[str]:
        """The classes without a file, although the record names them."""
        return [name for name in self.classes if not self.mask_file(name).is_file()]


def load_predictions(folder: Path) -> list[Prediction]:
    """All predicted scans, in natural order; a failed scan is one of them.

    Raises:
        UserError: no folder of predictions, or scans that are gone or without a readable record: all
            of them.
    """
    _check_folder(folder)
    found = [_read_prediction(scan) for scan in _scan_folders(folder)]
    problems = [problem for problem in found if isinstance(problem, str)]
    gone = [scan for scan in _gathered_scans(folder) if not (folder / scan).is_dir()]
    if gone:
        problems.append(
            f"{folder}: scans that {RECORDS} names are missing: {', '.join(gone)}; run `volseg infer` "
            f"again, or remove {RECORDS} to go on without them"
        )
    if problems:
        raise UserError.from_problems(problems)
    if not found:
        raise UserError(f"{folder}: no predicted scan in it; expected <scan>/{RECORD}")
    return [prediction for prediction in found if isinstance(prediction, Prediction)]


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise UserError(f"{folder}: a file; name the folder that `volseg infer` wrote")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `volseg infer --out {folder}` makes it")
    if (folder / RECORD).is_file():
        raise UserError(f"{folder}: one scan; name the folder that it lies in: {folder.parent}")


def _gathered_scans(folder: Path) -> list[str]:
    """The scans that predictions.json names; none where it is missing or damaged."""
    try:
        return [str(one["scan"]) for one in json.loads((folder / RECORDS).read_bytes())]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def holds_scans(folder: Path) -> bool:
    """Whether there are predicted scans in it, finished or not."""
    return folder.is_dir() and any(_scan_folders(folder))


def _scan_folders(folder: Path) -> Iterator[Path]:
    """The folders of scans: those with a record or masks. Others, such as scores/, may lie there."""
    for path in sorted(folder.iterdir(), key=lambda one: natural_key(one.name)):
        known = (path / RECORD).is_file() or any(path.glob("*.nii.gz"))
        if known and not path.name.startswith("."):
            yield path


def _read_prediction(folder: Path) -> Prediction | str:
    """The record of one scan, or what is wrong with it."""
    path = folder / RECORD
    if not path.is_file():
        return f"{folder}: masks without {RECORD}: inference was stopped; run `volseg infer` again"
    try:
        values = json.loads(path.read_bytes())
        record = Prediction.model_validate({**values, "folder": folder})
    except (ValidationError, ValueError, TypeError) as error:
        return f"{path}: not a record of `volseg infer` ({_error_text(error)})"
    if record.scan != folder.name:
        return f"{path}: is the record of {record.scan}; expected one of {folder.name}"
    return record


def _error_text(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
    return str(error)
