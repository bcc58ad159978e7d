"""One scan from its files to its masks: read, predict, clean, write; the parts of several scans overlap."""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import OutputError, UserError
from volseg.inference import prediction_folder
from volseg.inference.confidence.calibration_file import Organ, of_all
from volseg.inference.confidence.review import Review, levels_of
from volseg.inference.ensemble import Ensemble, Loaded
from volseg.inference.memory_budget import Budget, held
from volseg.inference.prediction_folder import RECORD, Record
from volseg.inference.predictor import Changes, Mask
from volseg.inference.probability_maps import Maps
from volseg.inference.scan_sources import Source, Wanted
from volseg.system import processes
from volseg.system.timing import Seconds

log = logging.getLogger(__name__)


CODES = "rle.csv"


PROBABILITY = "_probability.nii.gz"


FOUND = ("seconds", "changes", "confidence", "check")
"""What a record tells of a scan's masks: it stays while they do."""


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
            write_volume(first.with_voxels(mask), scan.folder / f"{name}.nii.gz")
            with scan.seconds.step("review"):
                review.add(name, mask, maps, number)
            if self.probabilities:
                probability = first.with_voxels(maps.whole(number))
                write_volume(probability, scan.folder / f"{name}{PROBABILITY}", slope=1 / 255)
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
