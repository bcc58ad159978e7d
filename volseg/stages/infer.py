"""`volseg infer`: from runs and scans to masks on each scan's native grid."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from volseg import console
from volseg.atomic import write_text
from volseg.data.volume import Volume
from volseg.errors import OutputError, UserError
from volseg.masks import submission
from volseg.model.predict import Seconds
from volseg.stages.ensemble import Ensemble, Loaded
from volseg.stages.predictions import RECORD, Record
from volseg.stages.sources import Source, Wanted, sources

log = logging.getLogger(__name__)
RECORDS = "predictions.json"
CODES = "rle.csv"


@dataclass(frozen=True)
class Inferred:
    """What became of each scan, where the masks lie, and by what they are."""

    by: Ensemble
    out: Path
    records: tuple[Record, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[Record, ...]:
        """The scans without masks."""
        return tuple(record for record in self.records if record.status == "failed")


def infer(wanted: Wanted) -> Inferred:
    """Predict the scans asked for, the models loaded once; a scan that fails leaves the others alone.

    A scan whose masks were made from the same image, weights and settings is not done again.

    Raises:
        UserError: nothing to predict, runs that don't fit, a full disk, or every scan failed.
    """
    by = Ensemble.open(wanted.runs)
    planned = sources(wanted, by)
    maker = Maker(by, by.load())
    log.info("%s on %s: %d scans", by, maker.loaded.predictor.device, len(planned))
    records = []
    with console.progress("predicting") as report:
        for source in planned:
            records.append(_scan(source, maker, wanted.out / source.name))
            report(len(records), len(planned), source.name)
    gather(wanted.out)
    if all(record.status == "failed" for record in records):
        raise UserError.of(f"{record.scan}: {record.reason}" for record in records)
    return Inferred(by, wanted.out, tuple(records), (*by.notes(), *_notes(records, by)))


def gather(out: Path) -> None:
    """Collect all records below `out` into `predictions.json`, in order of their names."""
    records = [_old_record(path.parent) for path in sorted(out.glob(f"*/{RECORD}"))]
    values = [record.model_dump() for record in records if record]
    write_text(out / RECORDS, json.dumps(values, indent=1) + "\n")


@dataclass(frozen=True)
class Maker:
    """What makes masks: runs, and their networks as they were loaded."""

    by: Ensemble
    loaded: Loaded

    def record(self, source: Source, **told: Any) -> Record:
        """The record of a scan."""
        return Record(
            scan=source.name,
            run=self.by.name,
            weights=self.loaded.weights,
            classes=self.by.facts.classes,
            fold_set=self.by.set_of(source.name),
            seen=self.by.seen(source.name, source.case),
            **told,
        )


def _scan(source: Source, maker: Maker, folder: Path) -> Record:
    """Predict one scan unless that was done already; what became of it is written last."""
    _refuse_foreign(folder, maker.by.facts.classes)
    try:
        record = _done_or_predicted(source, maker, folder)
    except OutputError:
        raise
    except (UserError, MemoryError, RuntimeError, ValueError, TypeError, OSError) as error:
        if not isinstance(error, UserError):
            log.exception("%s: failed", source.name)
        _clear(folder)
        reason = str(error) or type(error).__name__
        record = maker.record(source, status="failed", reason=reason)
    _write(record, folder)
    return record


def _done_or_predicted(source: Source, maker: Maker, folder: Path) -> Record:
    seconds = Seconds()
    with seconds.step("read"):
        channels = source.channels()
    wanted = maker.by.facts.channels
    if len(channels) != len(wanted):
        raise UserError(
            f"{source.name}: has {len(channels)} channels; the run needs {', '.join(wanted)}"
        )
    made_from = f"{source.digest(channels)} {maker.loaded.settings}"
    key = hashlib.sha256(made_from.encode()).hexdigest()
    spent = _done(folder, key)
    if spent is None:
        _clear(folder)
        _write(maker.record(source, status="failed", reason="stopped; run it again"), folder)
        _predict(source, channels, maker, folder=folder, seconds=seconds)
        spent = {step: round(value, 3) for step, value in seconds.by_step.items()}
    else:
        log.info("%s: unchanged, not done again", source.name)
    return maker.record(source, status="done", key=key, seconds=spent)


def _predict(
    source: Source, channels: Sequence[Volume], maker: Maker, *, folder: Path, seconds: Seconds
) -> None:
    """Write a scan's masks and codes."""
    masks = []
    for name, mask in maker.loaded.predictor.masks(channels, seconds):
        with seconds.step("write"):
            channels[0].with_voxels(mask.astype(np.uint8)).write(folder / f"{name}.nii.gz")
        masks.append(mask)
    if source.slices:
        with seconds.step("write"):
            classes = maker.by.facts.classes
            rows = submission.rows(
                source.name, source.slices, classes=classes, masks=np.stack(masks)
            )
            submission.write(folder / CODES, rows)


def _done(folder: Path, key: str) -> dict[str, float] | None:
    """The seconds of an earlier prediction from exactly these inputs, if its files are all there."""
    record = _old_record(folder)
    if record is None or (record.key, record.status) != (key, "done"):
        return None
    whole = all((folder / f"{name}.nii.gz").is_file() for name in record.classes)
    return record.seconds if whole else None


def _old_record(folder: Path) -> Record | None:
    path = folder / RECORD
    try:
        return Record.model_validate_json(path.read_bytes()) if path.is_file() else None
    except ValidationError:
        return None


def _write(record: Record, folder: Path) -> None:
    write_text(folder / RECORD, record.model_dump_json(indent=1) + "\n")


def _refuse_foreign(folder: Path, classes: Sequence[str]) -> None:
    """Raise rather than replace masks that inference did not write, such as the truth itself."""
    masks = [f"{name}.nii.gz" for name in classes if (folder / f"{name}.nii.gz").exists()]
    if masks and _old_record(folder) is None:
        raise OutputError(
            f"{folder}: holds {', '.join(masks)} without {RECORD}, so volseg did not write them; "
            "choose another --out"
        )


def _clear(folder: Path) -> None:
    """Remove an earlier prediction; files that inference did not write stay."""
    old = _old_record(folder)
    if old:
        for file in (CODES, *(f"{name}.nii.gz" for name in old.classes), RECORD):
            (folder / file).unlink(missing_ok=True)


def _notes(records: Sequence[Record], by: Ensemble) -> Iterator[str]:
    """Warn where training saw what was predicted: such masks say nothing about new patients."""
    for seen, text in (
        ("scan", "was itself trained on"),
        ("case", "is another day of a case that was trained on"),
    ):
        names = [record.scan for record in records if record.seen == seen]
        if names:
            who = by.name if len(by.runs) == 1 else f"one or more of {by.name}"
            yield f"{', '.join(names)}: {text} by {who}"
