"""`volseg infer`: from a run and scans to masks on each scan's native grid."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from volseg import __version__, console, runs
from volseg.atomic import write_text
from volseg.errors import OutputError, UserError
from volseg.masks import submission
from volseg.model.device import Device
from volseg.model.predict import Predictor, Seconds
from volseg.runs import Run
from volseg.stages.predictions import RECORD, Record
from volseg.stages.sources import Source, Wanted, sources

log = logging.getLogger(__name__)
RECORDS = "predictions.json"
CODES = "rle.csv"


@dataclass(frozen=True)
class Inferred:
    """What became of each scan, and where the masks lie."""

    run: Path
    out: Path
    records: tuple[Record, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[Record, ...]:
        """The scans without masks."""
        return tuple(record for record in self.records if record.status == "failed")


def infer(wanted: Wanted) -> Inferred:
    """Predict the scans asked for with one loaded model; a scan that fails leaves the others alone.

    A scan whose masks were made from the same image, weights and settings is not done again.

    Raises:
        UserError: nothing to predict, a run that doesn't fit, a full disk, or every scan failed.
    """
    run = Run.open(runs.find(wanted.run))
    planned = sources(wanted, run)
    device = Device.best(run.config.train.precision)
    predictor = run.predictor(device.place(run.network()), device)
    log.info("%s on %s: %d scans", run.folder, predictor.device, len(planned))
    settings = _settings(run)
    records = []
    with console.progress("predicting") as report:
        for source in planned:
            records.append(_scan(source, run, predictor, out=wanted.out, settings=settings))
            report(len(records), len(planned), source.name)
    gather(wanted.out)
    if all(record.status == "failed" for record in records):
        raise UserError.of(f"{record.scan}: {record.reason}" for record in records)
    return Inferred(run.folder, wanted.out, tuple(records), tuple(_notes(records)))


def gather(out: Path) -> None:
    """Collect all records below `out` into `predictions.json`, in order of their names."""
    records = [json.loads(path.read_text()) for path in sorted(out.glob(f"*/{RECORD}"))]
    write_text(out / RECORDS, json.dumps(records, indent=1) + "\n")


def _scan(source: Source, run: Run, predictor: Predictor, *, out: Path, settings: str) -> Record:
    """Predict one scan unless that was done already; the record is written last."""
    folder = out / source.name
    try:
        key = hashlib.sha256(f"{source.digest()} {settings}".encode()).hexdigest()
        seconds = _done(folder, key, run.facts.classes)
        if seconds is None:
            seconds = _predict(source, run, predictor, folder=folder)
        else:
            log.info("%s: unchanged, not done again", source.name)
        record = _record(source, run, status="done", key=key, seconds=seconds)
    except OutputError:
        raise
    except (UserError, MemoryError, RuntimeError, ValueError) as error:
        if not isinstance(error, UserError):
            log.exception("%s: failed", source.name)
        reason = str(error) or type(error).__name__
        _clear(folder, run.facts.classes)
        record = _record(source, run, status="failed", reason=reason)
    write_text(folder / RECORD, record.model_dump_json(indent=1) + "\n")
    return record


def _predict(source: Source, run: Run, predictor: Predictor, *, folder: Path) -> dict[str, float]:
    """Write a scan's masks and codes; return the seconds each step took."""
    seconds = Seconds()
    with seconds.step("read"):
        channels = source.channels()
    if len(channels) != len(run.facts.channels):
        wanted = ", ".join(run.facts.channels)
        raise UserError(f"{source.name}: has {len(channels)} channels; the run needs {wanted}")
    _clear(folder, run.facts.classes)
    masks = []
    for name, mask in predictor.masks(channels, seconds):
        with seconds.step("write"):
            channels[0].with_voxels(mask.astype(np.uint8)).write(folder / f"{name}.nii.gz")
        masks.append(mask)
    if source.slices:
        with seconds.step("write"):
            table = submission.rows(
                source.name, source.slices, classes=run.facts.classes, masks=np.stack(masks)
            )
            submission.write(folder / CODES, table)
    return {step: round(value, 3) for step, value in seconds.by_step.items()}


def _record(source: Source, run: Run, **told: Any) -> Record:
    return Record(
        scan=source.name,
        run=run.folder.name,
        weights=run.weights_hash(),
        classes=run.facts.classes,
        fold_set=run.facts.set_of(source.name),
        seen=run.facts.seen(source.name, source.case),
        **told,
    )


def _done(folder: Path, key: str, classes: Sequence[str]) -> dict[str, float] | None:
    """The seconds of an earlier prediction from exactly these inputs, if its files are all there."""
    if not all((folder / f"{name}.nii.gz").is_file() for name in classes):
        return None
    record = _old_record(folder)
    return record.seconds if record and (record.key, record.status) == (key, "done") else None


def _old_record(folder: Path) -> Record | None:
    path = folder / RECORD
    try:
        return Record.model_validate_json(path.read_bytes()) if path.is_file() else None
    except ValidationError:
        return None


def _clear(folder: Path, classes: Sequence[str]) -> None:
    """Remove an earlier prediction, record first; files that inference did not write stay."""
    old = _old_record(folder)
    names = dict.fromkeys([*(old.classes if old else ()), *classes])
    for file in (RECORD, CODES, *(f"{name}.nii.gz" for name in names)):
        (folder / file).unlink(missing_ok=True)


def _settings(run: Run) -> str:
    """All of a run that masks depend on, as text to hash."""
    config = run.config.model_dump(
        mode="json", include={"data", "network", "inference", "postprocess"}
    )
    return json.dumps(
        [run.weights_hash(), run.facts.classes, run.config.window, config, __version__]
    )


def _notes(records: Sequence[Record]) -> Iterator[str]:
    """Warn where training saw what was predicted: such masks say nothing about new patients."""
    for seen, text in (
        ("scan", "was itself trained on"),
        ("case", "is another day of a case that was trained on"),
    ):
        names = [record.scan for record in records if record.seen == seen]
        if names:
            yield f"{', '.join(names)}: {text} by {records[0].run}"
