"""`volseg infer`: from a run and scans to masks on each scan's native grid."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volseg import __version__, console, runs
from volseg.atomic import write_text
from volseg.data import volume
from volseg.data.dataset import Dataset, Sample
from volseg.data.scan import read_folder
from volseg.data.volume import Volume
from volseg.errors import OutputError, UserError
from volseg.masks import submission
from volseg.model.device import Device
from volseg.model.predict import Predictor, Seconds
from volseg.runs import Run

log = logging.getLogger(__name__)
RECORD, RECORDS = "record.json", "predictions.json"


@dataclass(frozen=True)
class Options:
    """What is predicted, by which run, and where the masks go."""

    run: str | None = None
    data: Path = Path("data/prepared")
    out: Path = Path("predictions")
    case: tuple[str, ...] = ()
    everything: bool = False
    split: str | None = None
    inputs: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Record:
    """What `record.json` tells of one scan. `key` is the hash of all that its masks were made from."""

    scan: str
    status: str
    reason: str
    run: str
    weights: str
    classes: tuple[str, ...]
    fold_set: str
    seen: str
    key: str
    seconds: dict[str, float]
    version: str = __version__


@dataclass(frozen=True)
class Source:
    """A scan to predict: where its channels lie, how to read them, and its slices' numbers."""

    name: str
    case: str
    paths: tuple[Path, ...]
    slices: tuple[int, ...]
    stacked: bool = True

    def channels(self) -> list[Volume]:
        """The image's channels on the native grid."""
        if self.stacked:
            return [volume.read(path) for path in self.paths]
        return [read_folder(self.paths[0]).image()]

    def digest(self) -> str:
        """SHA-256 of the files the image is read from."""
        digest = hashlib.sha256()
        for path in self.paths:
            files = sorted(path.rglob("*.png")) if path.is_dir() else [path]
            for file in files:
                digest.update(file.name.encode() + file.read_bytes())
        return digest.hexdigest()


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


def infer(options: Options) -> Inferred:
    """Predict the scans asked for with one loaded model; a scan that fails leaves the others alone.

    A scan whose masks were made from the same image, weights and settings is not done again.

    Raises:
        UserError: nothing to predict, a run that doesn't fit, a full disk, or every scan failed.
    """
    run = Run.open(runs.find(options.run))
    sources = list(_sources(options, run))
    predictor = _predictor(run)
    log.info("%s on %s: %d scans", run.folder, predictor.device, len(sources))
    settings = _settings(run)
    records = []
    with console.progress("predicting") as report:
        for source in sources:
            records.append(_scan(source, run, predictor, out=options.out, settings=settings))
            report(len(records), len(sources), source.name)
    gather(options.out)
    if all(record.status == "failed" for record in records):
        raise UserError.of(f"{record.scan}: {record.reason}" for record in records)
    return Inferred(run.folder, options.out, tuple(records), tuple(_notes(records)))


def gather(out: Path) -> None:
    """Collect all records below `out` into `predictions.json`, in order of their names."""
    records = [json.loads(path.read_text()) for path in sorted(out.glob(f"*/{RECORD}"))]
    write_text(out / RECORDS, json.dumps(records, indent=1) + "\n")


def _scan(source: Source, run: Run, predictor: Predictor, *, out: Path, settings: str) -> Record:
    folder = out / source.name
    try:
        key = hashlib.sha256(f"{source.digest()} {settings}".encode()).hexdigest()
        done = _done(folder, key, run)
        if done:
            log.info("%s: unchanged, not done again", source.name)
            return done
        record = _predict(source, run, predictor, folder=folder, key=key)
    except OutputError:
        raise
    except (UserError, MemoryError, RuntimeError, ValueError) as error:
        if not isinstance(error, UserError):
            log.exception("%s: failed", source.name)
        reason = str(error) or type(error).__name__
        record = _record(source, run, status="failed", reason=reason)
        shutil.rmtree(folder, ignore_errors=True)
    write_text(folder / RECORD, json.dumps(asdict(record), indent=1) + "\n")
    return record


def _predict(source: Source, run: Run, predictor: Predictor, *, folder: Path, key: str) -> Record:
    seconds = Seconds()
    with seconds.step("read"):
        channels = source.channels()
    if len(channels) != len(run.facts.channels):
        wanted = ", ".join(run.facts.channels)
        raise UserError(f"{source.name}: has {len(channels)} channels; the run needs {wanted}")
    shutil.rmtree(folder, ignore_errors=True)
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
            submission.write(folder / "rle.csv", table)
    spent = {step: round(value, 3) for step, value in seconds.by_step.items()}
    return _record(source, run, key=key, seconds=spent)


def _record(source: Source, run: Run, **told: Any) -> Record:
    values = {"status": "done", "reason": "", "key": "", "seconds": {}, **told}
    return Record(
        scan=source.name,
        run=run.folder.name,
        weights=run.weights_hash(),
        classes=run.facts.classes,
        fold_set=run.facts.set_of(source.name),
        seen=run.facts.seen(source.name, source.case),
        **values,
    )


def _done(folder: Path, key: str, run: Run) -> Record | None:
    """The record of an earlier prediction from exactly these inputs, if its files are all there."""
    path = folder / RECORD
    if not path.is_file() or not all((folder / f"{c}.nii.gz").is_file() for c in run.facts.classes):
        return None
    values = json.loads(path.read_text())
    if values.get("key") != key or values.get("status") != "done":
        return None
    return Record(**{**values, "classes": tuple(values["classes"])})


def _settings(run: Run) -> str:
    """All of a run that masks depend on, as text to hash."""
    config = run.config.model_dump(
        mode="json", include={"data", "network", "inference", "postprocess"}
    )
    return json.dumps(
        [run.weights_hash(), run.facts.classes, run.config.window, config, __version__]
    )


def _predictor(run: Run) -> Predictor:
    config = run.config
    device = Device.best(config.train.precision)
    network = device.place(run.network())
    return Predictor(
        network,
        device,
        config.data,
        config.inference,
        config.window,
        run.facts.classes,
        config.postprocess,
    )


def _sources(options: Options, run: Run) -> Iterator[Source]:
    for path in options.inputs:
        yield _plain(path)
    if options.inputs:
        return
    dataset = Dataset.load(options.data)
    run.check_classes(dataset.classes, options.data)
    samples = _samples(options, dataset, run)
    if not samples:
        raise UserError(
            f"{options.data}: no scan in {options.split}; see splits.json in {run.folder}"
        )
    for sample in samples:
        paths = tuple(dataset.folder / image for image in sample.images)
        yield Source(sample.name, sample.case, paths, sample.slices)


def _samples(options: Options, dataset: Dataset, run: Run) -> Sequence[Sample]:
    if options.everything:
        return dataset.samples
    if options.split == "test":
        return [sample for sample in dataset.samples if sample.part == "test"]
    if options.split:
        return [s for s in dataset.samples if run.facts.set_of(s.name) == options.split]
    return list({s.name: s for name in options.case for s in dataset.of(name)}.values())


def _plain(path: Path) -> Source:
    """A folder of slices or a volume's file outside any dataset."""
    if path.is_dir():
        scan = read_folder(path)
        return Source(scan.name, scan.case, (path,), scan.numbers, stacked=False)
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder; expected a folder of slices or a volume")
    name = path.name.removesuffix(".gz").rpartition(".")[0]
    return Source(name, name.rsplit("_day", 1)[0], (path,), ())


def _notes(records: Sequence[Record]) -> Iterator[str]:
    """Warn where training saw what was predicted: such masks say nothing about new patients."""
    for seen, text in (
        ("scan", "was itself trained on"),
        ("case", "is another day of a case that was trained on"),
    ):
        names = [record.scan for record in records if record.seen == seen]
        if names:
            yield f"{', '.join(names)}: {text} by {records[0].run}"
