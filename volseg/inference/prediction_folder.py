"""The folder that `volseg infer` writes: a folder of masks and `record.json` for each scan."""

import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from pydantic import Field, ValidationError

from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.mask_files import MaskFile
from volseg.errors import UserError, nearest_hint
from volseg.formatting import format_count, join_names, natural_key
from volseg.inference.correction_file import (
    Correction,
    corrected_file,
    correction_problem,
    has_changed,
    read_correction,
)
from volseg.inference.prediction_record import PredictionRecord
from volseg.system.json_files import read_json, write_json

RECORD, RECORDS, RLE = "record.json", "predictions.json", "rle.csv"
EXPECTED = f"expected <scan>/{RECORD}"
MASK, PROBABILITY = ".nii.gz", "_probability.nii.gz"  # behind a class's name
STOPPED = "not finished: in work now, or stopped; `volseg infer` goes on with it"
"""The reason in the record of a scan that is in work."""
UNFINISHED = (STOPPED, "stopped; run it again")  # the latter by earlier versions


def read_record(folder: Path) -> PredictionRecord | None:
    """The record of a scan's folder; None where there is none that this version can read."""
    path = folder / RECORD
    try:
        return read_json(path, PredictionRecord) if path.is_file() else None
    except UserError:
        return None


def write_record(record: PredictionRecord, folder: Path) -> None:
    """Write a scan's record into its folder."""
    write_json(folder / RECORD, record)


def read_records(out: Path) -> list[PredictionRecord]:
    """All readable records below a folder, in order of their folders' names."""
    records = [read_record(path.parent) for path in sorted(out.glob(f"*/{RECORD}"))]
    return [record for record in records if record]


def gather_records(out: Path, records: Iterable[PredictionRecord]) -> None:
    """Write all records below `out` into `predictions.json`."""
    write_json(out / RECORDS, [record.model_dump() for record in records])


def reduction_notes(records: Iterable[PredictionRecord]) -> Iterator[str]:
    """The scans that were predicted by less than all networks and views, by what they were."""
    scans: dict[str, list[str]] = {}
    for record in records:
        scans.setdefault(record.reduced, []).append(record.scan)
    scans.pop("", None)
    for reduced, names in scans.items():
        yield f"{', '.join(names)}: by {reduced}, to keep --max-time; without it they are predicted anew"


def origin_notes(records: Iterable[PredictionRecord]) -> Iterator[str]:
    """Where masks are by several runs, or by weights that a run no longer has, which are by which."""
    runs: dict[str, list[PredictionRecord]] = {}
    for record in records:
        if record.status == "done" and record.run:
            runs.setdefault(record.made_by, []).append(record)
    if len(runs) > 1:
        counts = [f"{run} ({format_count(len(own), 'scan')})" for run, own in runs.items()]
        yield f"these masks are by several runs: {join_names(counts)}"
    for run, own in runs.items():
        newest = max(own, key=lambda record: record.computed.finished).weights
        older = [record.scan for record in own if record.weights != newest]
        if older:
            told = f"by other weights of {run} than its newest masks"
            yield f"{join_names(older)}: {told}; `volseg infer` predicts them anew"


class Prediction(PredictionRecord):
    """A record with the folder or file of its masks; `masks` are their files where others wrote them."""

    folder: Path
    masks: dict[str, MaskFile] = Field(default_factory=dict)

    @cached_property
    def correction(self) -> Correction | None:
        """What a person saved in `corrected/`; None where nobody has, or where others wrote the masks.

        Raises:
            UserError: as `read_correction` does.
        """
        return None if self.masks else read_correction(self.folder)

    def mask_file(self, name: str) -> MaskFile:
        """The file of a class's mask: the corrected one where there is one."""
        if self.correction and name in self.correction.classes:
            return MaskFile(corrected_file(self.folder, name))
        return self.predicted_file(name)

    def predicted_file(self, name: str) -> MaskFile:
        """The file of a class's mask as it was predicted, whether it was corrected or not."""
        return self.masks.get(name, MaskFile(self.folder / f"{name}{MASK}"))

    @property
    def missing_classes(self) -> list[str]:
        """The record's classes without a file."""
        return [name for name in self.classes if not self.mask_file(name).path.is_file()]

    @cached_property
    def edited_files(self) -> tuple[str, ...]:
        """The predicted files whose content is no longer what the record says, as after a change in place."""
        return tuple(filter(self._is_edited, self.files))

    @cached_property
    def edited_in_place(self) -> tuple[str, ...]:
        """The classes whose predicted files were changed, as another program does that saves over them."""
        return tuple(name for name in self.classes if self._is_edited(f"{name}{MASK}"))

    @cached_property
    def edited_classes(self) -> tuple[str, ...]:
        """The classes whose masks are no longer those that were predicted: corrected aside or in place."""
        edited = {*self.edited_in_place}
        if self.correction:
            edited |= {*self.correction.changed_classes, *self.correction.changed_later(self.folder)}
        return tuple(name for name in self.classes if name in edited)

    @property
    def as_it_is_now(self) -> "Prediction":
        """The prediction without what its record says of masks that were changed since."""
        edited = self.edited_classes
        if not edited:
            return self
        confidence = {name: value for name, value in self.confidence.items() if name not in edited}
        changes = {name: value for name, value in self.changes.items() if name not in edited}
        return self.model_copy(update={"confidence": confidence, "changes": changes, "check": ()})

    def _is_edited(self, name: str) -> bool:
        return name in self.files and has_changed(self.folder / name, self.files[name])


def load_predictions(folder: Path, *, check_corrections: bool = True) -> list[Prediction]:
    """All predicted scans in natural order, failed ones included.

    Raises:
        UserError: no folder of predictions, or scans that are gone or without a readable record, or a
            correction that is damaged, unless these are not to be checked: all of them.
    """
    _check_folder(folder)
    results = [_read_prediction(scan, check_corrections) for scan in scan_folders(folder)]
    problems = [result for result in results if isinstance(result, str)]
    gone = [scan for scan in gathered_scans(folder) if not (folder / scan).is_dir()]
    if gone:
        problems.append(
            f"{folder}: scans that {RECORDS} names are missing: {', '.join(gone)}; run `volseg infer` "
            f"again, or remove {RECORDS} to go on without them"
        )
    if problems:
        raise UserError.from_problems(problems)
    if not results:
        raise UserError(f"{folder}: no predicted scan in it; {inner_folder_hint(folder) or EXPECTED}")
    return [result for result in results if isinstance(result, Prediction)]


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise UserError(f"{folder}: a file; name the folder of masks that it lies in")
    if not folder.is_dir():
        beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
        hint = nearest_hint(folder.name, [path.name for path in beside if path.is_dir()])
        raise UserError(f"{folder}: no such folder{hint or f'; `volseg infer --out {folder}` makes it'}")
    if (folder / RECORD).is_file():
        raise UserError(f"{folder}: one scan; name the folder that it lies in: {folder.parent}")


def inner_folder_hint(folder: Path) -> str:
    """The newest folder of predictions in this folder, to be named in its place; "" where there is none."""
    below = sorted(
        (file.parent.parent for depth in ("*/*/", "*/*/*/") for file in folder.glob(f"{depth}{RECORD}")),
        key=lambda place: place.stat().st_mtime_ns,
    )
    return f"name a folder of predictions in it, such as {below[-1]}" if below else ""


def gathered_scans(folder: Path) -> list[str]:
    """The scans that predictions.json names; none where it is missing or damaged."""
    try:
        return [str(record["scan"]) for record in json.loads((folder / RECORDS).read_bytes())]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def scan_folders(folder: Path) -> Iterator[Path]:
    """The folders with a record or masks; others, such as scores/, may lie beside them."""
    for path in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        is_scan = (path / RECORD).is_file() or any(path.glob("*.nii.gz"))
        if is_scan and not path.name.startswith("."):
            yield path


def _read_prediction(folder: Path, check_correction: bool) -> Prediction | str:
    """The prediction of one scan, or a sentence of what is wrong with it."""
    path = folder / RECORD
    if not path.is_file():
        return (
            f"{folder}: masks without {RECORD} among predictions by volseg: another tool made them, or the "
            "record was removed; keep masks of other tools in a folder of their own, or predict again"
        )
    try:
        record = Prediction.model_validate({**json.loads(path.read_bytes()), "folder": folder, "masks": {}})
    except ValidationError as error:
        reason = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
        return f"{path}: not a record of `volseg infer` ({reason})"
    except (ValueError, TypeError) as error:
        return f"{path}: not a record of `volseg infer` ({error})"
    if record.scan != folder.name:
        return f"{path}: is the record of {record.scan}; expected one of {folder.name}"
    return (check_correction and correction_problem(folder)) or record


def source_slice_numbers(prediction: Prediction) -> tuple[int, ...]:
    """The source numbers of the slices by the scan's rle.csv; none where it has none."""
    path = prediction.folder / RLE
    ids = dict.fromkeys(row.id for row in rle_csv.read(path)) if path.is_file() else ()
    numbers = [id_.rpartition("_")[2] for id_ in ids]
    return tuple(map(int, numbers)) if all(map(str.isdigit, numbers)) else ()
