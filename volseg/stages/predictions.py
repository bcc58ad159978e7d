"""The folder that `volseg infer` writes, as the stages after it read it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from volseg import __version__
from volseg.data.slices import natural
from volseg.errors import UserError
from volseg.masks.postprocess import Change

RECORD = "record.json"


class Record(BaseModel):
    """What `record.json` says of one scan; keys of later versions are passed over.

    `seen` is what training saw: this very scan, another day of its case, or nothing of the case; of
    several runs, the most that any saw. `fold_set` is the run's set the scan was in. `key` is the
    hash of all that the masks were made from: image, weights and settings. `changes` tells by class what
    each step of cleaning did; records of earlier versions lack it.
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
    changes: dict[str, tuple[Change, ...]] = {}
    version: str = __version__


class Prediction(Record):
    """A record and the folder it lies in."""

    folder: Path

    def mask(self, name: str) -> Path:
        """The file of one class's mask."""
        return self.folder / f"{name}.nii.gz"

    @property
    def missing(self) -> list[str]:
        """The classes without a file, although the record names them."""
        return [name for name in self.classes if not self.mask(name).is_file()]


def load(folder: Path) -> list[Prediction]:
    """All predicted scans, in natural order; a failed scan is one of them.

    Raises:
        UserError: no such folder, nothing in it, or scans without a readable record: all of them.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `volseg infer --out {folder}` makes it")
    found = [_read(scan) for scan in _scans(folder)]
    problems = [problem for problem in found if isinstance(problem, str)]
    if problems:
        raise UserError.of(problems)
    if not found:
        raise UserError(f"{folder}: no predicted scan in it; expected <scan>/{RECORD}")
    return [prediction for prediction in found if isinstance(prediction, Prediction)]


def holds_scans(folder: Path) -> bool:
    """Whether there are predicted scans in it, finished or not."""
    return folder.is_dir() and any(_scans(folder))


def _scans(folder: Path) -> Iterator[Path]:
    """The folders of scans: those with a record or masks. Others, such as scores/, may lie there."""
    for path in sorted(folder.iterdir(), key=lambda one: natural(one.name)):
        known = (path / RECORD).is_file() or any(path.glob("*.nii.gz"))
        if known and not path.name.startswith("."):
            yield path


def _read(folder: Path) -> Prediction | str:
    """The record of one scan, or what is wrong with it."""
    path = folder / RECORD
    if not path.is_file():
        return f"{folder}: masks without {RECORD}: inference was stopped; run `volseg infer` again"
    try:
        values = json.loads(path.read_bytes())
        record = Prediction.model_validate({**values, "folder": folder})
    except (ValidationError, ValueError, TypeError) as error:
        return f"{path}: not a record of `volseg infer` ({_reason(error)})"
    if record.scan != folder.name:
        return f"{path}: is the record of {record.scan}; expected one of {folder.name}"
    return record


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
    return str(error)
