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
from volseg.data.volume import Volume
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
    network, weights = run.network()
    predictor = run.predictor(device.place(network), device)
    log.info("%s on %s: %d scans", run.folder, predictor.device, len(planned))
    maker = Maker(run, weights, predictor)
    records = []
    with console.progress("predicting") as report:
        for source in planned:
            records.append(_scan(source, maker, wanted.out / source.name))
            report(len(records), len(planned), source.name)
    gather(wanted.out)
    if all(record.status == "failed" for record in records):
        raise UserError.of(f"{record.scan}: {record.reason}" for record in records)
    return Inferred(run.folder, wanted.out, tuple(records), tuple(_notes(records)))


def gather(out: Path) -> None:
    """Collect all records below `out` into `predictions.json`, in order of their names."""
    records = [_old_record(path.parent) for path in sorted(out.glob(f"*/{RECORD}"))]
    values = [record.model_dump() for record in records if record]
    write_text(out / RECORDS, json.dumps(values, indent=1) + "\n")


@dataclass(frozen=True)
class Maker:
    """What makes masks: a run, the hash of the weights that were loaded, and its network."""

    run: Run
    weights: str
    predictor: Predictor

    @property
    def settings(self) -> str:
        """All that masks depend on beside the image, as text to hash."""
        sections = {"data", "network", "inference", "postprocess"}
        config = self.run.config.model_dump(mode="json", include=sections)
        window, facts = self.run.config.window, self.run.facts
        classes = [facts.classes, facts.exclusive]
        dtype = str(self.predictor.device.dtype)
        return json.dumps([self.weights, classes, window, dtype, config, __version__])

    def record(self, source: Source, **told: Any) -> Record:
        """The record of a scan."""
        facts = self.run.facts
        return Record(
            scan=source.name,
            run=self.run.folder.name,
            weights=self.weights,
            classes=facts.classes,
            fold_set=facts.set_of(source.name),
            seen=facts.seen(source.name, source.case),
            **told,
        )


def _scan(source: Source, maker: Maker, folder: Path) -> Record:
    """Predict one scan unless that was done already; what became of it is written last."""
    _refuse_foreign(folder, maker.run.facts.classes)
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
    wanted = maker.run.facts.channels
    if len(channels) != len(wanted):
        raise UserError(
            f"{source.name}: has {len(channels)} channels; the run needs {', '.join(wanted)}"
        )
    key = hashlib.sha256(f"{source.digest(channels)} {maker.settings}".encode()).hexdigest()
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
    for name, mask in maker.predictor.masks(channels, seconds):
        with seconds.step("write"):
            channels[0].with_voxels(mask.astype(np.uint8)).write(folder / f"{name}.nii.gz")
        masks.append(mask)
    if source.slices:
        with seconds.step("write"):
            classes = maker.run.facts.classes
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


def _notes(records: Sequence[Record]) -> Iterator[str]:
    """Warn where training saw what was predicted: such masks say nothing about new patients."""
    for seen, text in (
        ("scan", "was itself trained on"),
        ("case", "is another day of a case that was trained on"),
    ):
        names = [record.scan for record in records if record.seen == seen]
        if names:
            yield f"{', '.join(names)}: {text} by {records[0].run}"
