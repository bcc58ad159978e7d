"""`volseg infer`: from runs and scans to masks on each scan's native grid."""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from volseg import console
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Volume
from volseg.errors import OutputError, UserError
from volseg.inference import prediction_folder
from volseg.inference.confidence.calibration_file import Organ, of_all
from volseg.inference.confidence.day_changes import across_days
from volseg.inference.confidence.review import Review, levels_of
from volseg.inference.ensemble import Ensemble, Loaded
from volseg.inference.memory_budget import Budget, held
from volseg.inference.prediction_folder import RECORD, Record
from volseg.inference.predictor import Changes, Mask
from volseg.inference.probability_maps import Maps
from volseg.inference.scan_sources import Source, Wanted, sources
from volseg.system import processes
from volseg.system.timing import Seconds

log = logging.getLogger(__name__)
CODES = "rle.csv"
PROBABILITY = "_probability.nii.gz"
FOUND = ("seconds", "changes", "confidence", "check")
"""What a record tells of a scan's masks: it stays while they do."""


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

    A scan whose masks were made from the same image, weights and settings is not done again. While one
    is predicted, the next is read and the last one is cleaned and written.

    Raises:
        UserError: nothing to predict, runs that don't fit, a full disk, or every scan failed.
    """
    by = Ensemble.open(wanted.runs)
    by = by.first if wanted.how.fast else by
    planned = sources(wanted, by)
    maker = Maker.of(by, wanted)
    network, reason = maker.loaded.predictor.members[0].network, maker.loaded.reason
    log.info("%s by %s (%s): %d scans", by, network, reason, len(planned))
    records = []
    with console.progress("predicting") as report:
        line = processes.overlapped(
            planned, maker.read, maker.predict, maker.finish, beside=maker.has_room_beside
        )
        for record in line:
            records.append(record)
            report(len(records), len(planned), record.scan)
    records = _beside_other_days(records, maker)
    prediction_folder.gather(wanted.out)
    if all(record.status == "failed" for record in records):
        raise UserError.of(f"{record.scan}: {record.reason}" for record in records)
    return Inferred(by, wanted.out, tuple(records), (*by.notes(), *_notes(records, by)))


def _beside_other_days(records: Sequence[Record], maker: "Maker") -> list[Record]:
    """The records with what only shows beside other days, in the files too."""
    judged = across_days(records, prediction_folder.kept(maker.out), maker.known)
    for old, new in zip(records, judged, strict=True):
        if old != new:
            prediction_folder.write(new, maker.out / new.scan)
    return judged


@dataclass
class Scan:
    """A scan on its way to masks: what is known of it so far. `over` is its record, once there is one."""

    source: Source
    folder: Path
    seconds: Seconds = field(default_factory=Seconds)
    channels: Sequence[Volume] = ()
    key: str = ""
    maps: Maps = field(init=False)
    changes: Changes = field(default_factory=dict)
    over: Record | None = None


@dataclass(frozen=True)
class Maker:
    """What makes masks: runs, and their networks as they were loaded; and where the masks go."""

    by: Ensemble
    loaded: Loaded
    budget: Budget
    out: Path
    probabilities: bool = False
    known: dict[str, Organ] | None = None

    @classmethod
    def of(cls, by: Ensemble, wanted: Wanted) -> "Maker":
        """The networks loaded, within the memory that is allowed."""
        how, channels = wanted.how, len(by.facts.channels)
        before = held()
        loaded = by.load(how if how.max_memory is None else replace(how, at_once=1))
        budget = Budget.of(loaded.predictor, channels, how.max_memory)
        twice = 2 * budget.loaded - before
        if how.max_memory is not None and twice < how.max_memory / 2:  # room for more windows
            loaded = by.load(how)
            budget = Budget.of(loaded.predictor, channels, how.max_memory)
        return cls(by, loaded, budget, wanted.out, wanted.probabilities, of_all(by))

    def has_room_beside(self, scan: Scan) -> bool:
        """Whether the next scan may be read, and the last one written, while this is predicted."""
        return scan.over is not None or self.budget.has_room_beside(scan.channels)

    def read(self, source: Source) -> Scan:
        """Read a scan and see whether its masks are there already."""
        scan = Scan(source, self.out / source.name)
        _refuse_foreign(scan.folder, self.by.facts.classes)
        return self._attempted(scan, self._read)

    def predict(self, scan: Scan) -> Scan:
        """Find each class's probability, unless the scan is over."""
        return self._attempted(scan, self._predict)

    def finish(self, scan: Scan) -> Record:
        """Clean and write the masks, unless the scan is over; what became of it is written last."""
        self._attempted(scan, self._finish)
        if scan.over is None:
            raise AssertionError("a scan whose last step was neither done nor has failed")
        prediction_folder.write(scan.over, scan.folder)
        return scan.over

    def _attempted(self, scan: Scan, step: Callable[[Scan], None]) -> Scan:
        """A scan after a step; one that fails is over."""
        try:
            if scan.over is None:
                step(scan)
        except OutputError:
            raise
        except (UserError, MemoryError, RuntimeError, ValueError, TypeError, OSError) as error:
            if not isinstance(error, UserError):
                log.exception("%s: failed", scan.source.name)
            _clear(scan.folder)
            reason = str(error) or type(error).__name__
            scan.over = self._record(scan, status="failed", reason=reason)
        return scan

    def _read(self, scan: Scan) -> None:
        with scan.seconds.step("read"):
            scan.channels = scan.source.channels()
            wanted = self.by.facts.channels
            if len(scan.channels) != len(wanted):
                raise UserError(
                    f"{scan.source.name}: has {len(scan.channels)} channels; "
                    f"the run needs {', '.join(wanted)}"
                )
            made_from = (
                scan.source.digest(scan.channels),
                self.loaded.settings,
                self.probabilities,
                self.known,
            )
            scan.key = hashlib.sha256(" ".join(map(str, made_from)).encode()).hexdigest()
        old = _done(scan.folder, scan.key)
        if old is None:
            _clear(scan.folder)
            stopped = self._record(scan, status="failed", reason="stopped; run it again")
            prediction_folder.write(stopped, scan.folder)
        else:
            log.info("%s: unchanged, not done again", scan.source.name)
            kept = {name: getattr(old, name) for name in FOUND}
            scan.over = self._record(scan, status="done", key=scan.key, **kept)

    def _predict(self, scan: Scan) -> None:
        self.budget.check(scan.channels)
        scan.maps = self.loaded.predictor.maps(scan.channels, scan.seconds)

    def _finish(self, scan: Scan) -> None:
        """Write a scan's masks and codes."""
        source, classes = scan.source, self.by.facts.classes
        review = self._review(scan)
        masks = self._written(scan, scan.maps, review)
        with scan.seconds.step("write"):
            if source.slices:
                rows = rle_csv.rows(source.name, source.slices, classes=classes, masks=masks)
                rle_csv.write(scan.folder / CODES, rows)
            else:
                deque(masks, maxlen=0)
        spent = {step: round(value, 3) for step, value in scan.seconds.by_step.items()}
        found = {"changes": scan.changes, "confidence": review.confidence, "check": review.check}
        scan.over = self._record(scan, status="done", key=scan.key, seconds=spent, **found)

    def _review(self, scan: Scan) -> Review:
        first, intensity = scan.channels[0], self.by.runs[0].config.data.intensity
        with scan.seconds.step("review"):
            levels = levels_of(first.voxels, intensity)
        return Review(self.known, first, levels, scan.source.slices)

    def _written(self, scan: Scan, maps: Maps, review: Review) -> Iterator[Mask]:
        """Each class's mask, as soon as its files are written."""
        first, cleaning = scan.channels[0], Seconds()
        most = self.budget.largest_organ(scan.channels)
        cleaned = self.loaded.predictor.cleaned(
            maps, first, cleaning, most=most, changes=scan.changes
        )
        if self.has_room_beside(scan):
            cleaned = processes.ahead(cleaned)
        for number, (name, mask) in enumerate(scan.seconds.each("waiting", cleaned)):
            first.with_voxels(mask).write(scan.folder / f"{name}.nii.gz")
            with scan.seconds.step("review"):
                review.add(name, mask, maps, number)
            if self.probabilities:
                probability = first.with_voxels(maps.whole(number))
                probability.write(scan.folder / f"{name}{PROBABILITY}", slope=1 / 255)
            yield mask
        scan.seconds.by_step.pop("waiting")  # for the cleaning, whose own time counts
        scan.seconds.add(cleaning)

    def _record(self, scan: Scan, **told: Any) -> Record:
        source = scan.source
        return Record(
            scan=source.name,
            run=self.by.name,
            weights=self.loaded.weights,
            classes=self.by.facts.classes,
            fold_set=self.by.set_of(source.name),
            seen=self.by.seen(source.name, source.case),
            **told,
        )


def _done(folder: Path, key: str) -> Record | None:
    """The record of an earlier prediction from exactly these inputs, if its files are all there."""
    record = prediction_folder.read(folder)
    if record is None or (record.key, record.status) != (key, "done"):
        return None
    whole = all((folder / f"{name}.nii.gz").is_file() for name in record.classes)
    return record if whole else None


def _refuse_foreign(folder: Path, classes: Sequence[str]) -> None:
    """Raise rather than replace masks that inference did not write, such as the truth itself."""
    masks = [f"{name}.nii.gz" for name in classes if (folder / f"{name}.nii.gz").exists()]
    if masks and prediction_folder.read(folder) is None:
        raise OutputError(
            f"{folder}: holds {', '.join(masks)} without {RECORD}, so volseg did not write them; "
            "choose another --out"
        )


def _clear(folder: Path) -> None:
    """Remove an earlier prediction; files that inference did not write stay."""
    old = prediction_folder.read(folder)
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
