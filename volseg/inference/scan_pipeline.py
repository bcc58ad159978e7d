"""One scan from its files to its masks: read, predict, clean, write; the steps of several scans overlap."""

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from volseg.arguments import InferArguments
from volseg.data.image_identity import ScanIdentity
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import OutputError, UserError
from volseg.inference import prediction_folder
from volseg.inference.confidence.calibration_file import KnownClasses
from volseg.inference.confidence.review import ScanReview, intensity_levels
from volseg.inference.earlier_prediction import EarlierPrediction
from volseg.inference.ensemble import Ensemble, LoadedEnsemble
from volseg.inference.input_paths import channels_problem
from volseg.inference.memory_budget import MemoryBudget, resident_bytes
from volseg.inference.prediction_folder import MASK, PROBABILITY, RLE, PredictionRecord
from volseg.inference.predictor import Changes, Mask
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.inference.scan_sources import ScanSource
from volseg.system import processes
from volseg.system.files import PREFIX, file_sha256, readable_write_errors
from volseg.system.timing import StepTimer

log = logging.getLogger(__name__)
MASK_FIELDS = {"files", "seconds", "changes", "confidence", "check"}
"""What a record says of a scan's masks; it stays as long as they do."""


@dataclass
class ScanState:
    """A scan between its files and its masks; `record` is None until the scan is done or has failed.

    Until it owns its folder, nothing there may be replaced.
    """

    source: ScanSource
    earlier: EarlierPrediction
    owns_folder: bool = False
    identity: ScanIdentity = field(init=False)
    seconds: StepTimer = field(default_factory=StepTimer)
    channels: Sequence[Volume] = ()
    key: str = ""
    maps: ProbabilityMaps = field(init=False)
    changes: Changes = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    record: PredictionRecord | None = None

    def __post_init__(self) -> None:
        self.identity = self.source.identity(())

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return self.earlier.folder

    @property
    def conflict(self) -> str:
        """The reason why it must not replace what is in its folder, or ''."""
        grid = self.channels[0] if self.channels else None
        return self.earlier.conflict_with(self.source.origin, self.identity.image, grid)


@dataclass(frozen=True)
class ScanPipeline:
    """The runs, their networks as they were loaded, and how and whereto the options say to predict.

    `kept` has a line for each scan whose masks were corrected by hand, and so are not replaced.
    """

    ensemble: Ensemble
    loaded: LoadedEnsemble
    budget: MemoryBudget
    options: InferArguments
    known_classes: KnownClasses = field(default_factory=KnownClasses)
    kept: dict[str, str] = field(default_factory=dict)

    @classmethod
    def with_loaded_networks(cls, ensemble: Ensemble, options: InferArguments) -> "ScanPipeline":
        """The pipeline of an ensemble whose networks are loaded within the memory that is allowed."""
        limit, channels = options.max_memory, len(ensemble.facts.channels)
        before = resident_bytes()
        loaded = ensemble.load(options, at_once=None if limit is None else 1)
        budget = MemoryBudget.for_predictor(loaded.predictor, channels, limit)
        if limit is not None and 2 * budget.loaded - before < limit / 2:  # room for more windows
            loaded = ensemble.load(options)
            budget = MemoryBudget.for_predictor(loaded.predictor, channels, limit)
        return cls(
            ensemble, loaded, budget, options, KnownClasses.of_ensemble(ensemble, loaded.predictor.views)
        )

    def has_room_beside(self, scan: ScanState) -> bool:
        """Whether the next scan may be read, and the last one written, while this one is predicted."""
        return scan.record is not None or self.budget.has_room_beside(scan.channels)

    def read_scan(self, source: ScanSource) -> ScanState:
        """Read a scan, unless its masks are there already; then it has its record."""
        names = [file for name in self.ensemble.facts.classes for file in self._class_files(name)]
        files = (*names, RLE) if source.slices else names
        scan = ScanState(source, EarlierPrediction.find_in(self.options.out / source.name, files))
        if not self.options.force:
            scan.earlier.refuse_foreign_masks()
        return self._attempt_step(scan, self._read_channels)

    def _class_files(self, name: str) -> list[str]:
        """The names of the files of a class."""
        return [f"{name}{ending}" for ending in (MASK, *((PROBABILITY,) * self.options.save_probabilities))]

    def predict_scan(self, scan: ScanState) -> ScanState:
        """Predict the probability of each class, unless the scan has its record."""
        return self._attempt_step(scan, self._predict_maps)

    def finish_scan(self, scan: ScanState) -> PredictionRecord:
        """Clean and write the masks, unless the scan has its record; write that last."""
        self._attempt_step(scan, self._write_outputs)
        if scan.record is None:
            raise AssertionError("a scan whose last step was neither done nor has failed")
        if scan.owns_folder:
            prediction_folder.write_record(scan.record, scan.folder)
        return scan.record

    def _attempt_step(self, scan: ScanState, step: Callable[[ScanState], None]) -> ScanState:
        """A scan after a step; one that fails gets a record that says why."""
        try:
            if scan.record is None:
                step(scan)
        except OutputError:
            raise
        except (UserError, MemoryError, RuntimeError, ValueError, TypeError, OSError) as error:
            if not isinstance(error, UserError):
                log.exception("%s: failed", scan.source.name)
            self._remove_files(scan)
            reason = str(error) or type(error).__name__
            scan.record = self._make_record(scan, status="failed", reason=reason)
        return scan

    def _remove_files(self, scan: ScanState) -> None:
        """Remove the files of a scan that has failed, none of which is somebody's work."""
        for name in scan.files:
            (scan.folder / name).unlink(missing_ok=True)
        scan.files.clear()
        if not scan.owns_folder and (self.options.force or not (scan.conflict or scan.earlier.peoples_files)):
            scan.earlier.remove()
            scan.owns_folder = True

    def _read_channels(self, scan: ScanState) -> None:
        with scan.seconds.step("read"):
            scan.channels = scan.source.read_channels()
            names = self.ensemble.facts.channels
            if len(scan.channels) != len(names):
                raise UserError(channels_problem(len(scan.channels), names))
            scan.key, scan.identity = self._prediction_key(scan), scan.source.identity(scan.channels)
        if not self.options.force:
            if scan.conflict:
                raise UserError(scan.conflict)
            if scan.earlier.peoples_files:
                scan.record, self.kept[scan.source.name] = scan.earlier.keep_corrected()
                return
        scan.owns_folder = True
        old = scan.earlier.reusable_record(scan.key)
        if old is None:
            scan.earlier.remove()
            self._record_stop(scan)
        else:
            log.info("%s: unchanged, not done again", scan.source.name)
            fields = {name: getattr(old, name) for name in MASK_FIELDS}
            scan.record = self._make_record(scan, status="done", key=scan.key, **fields)

    def _record_stop(self, scan: ScanState) -> None:
        """Write the record of a scan that is stopped here, with the files that it has so far."""
        stopped = self._make_record(scan, status="failed", reason="stopped; run it again")
        prediction_folder.write_record(stopped, scan.folder)

    def _write_file(self, scan: ScanState, name: str, write: Callable[[Path], None]) -> None:
        """Write a file of a scan, whose hash is in the record before the file appears."""
        path = scan.folder / name
        temporary = scan.folder / f"{PREFIX}{os.getpid()}-new{path.suffix}"
        try:
            write(temporary)
            scan.files[name] = file_sha256(temporary)
            self._record_stop(scan)
            with readable_write_errors(path):
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _prediction_key(self, scan: ScanState) -> str:
        """SHA-256 of the JSON of all that a scan's masks and record depend on."""
        known = self.known_classes
        calibration = {name: organ.model_dump() for name, organ in known.organs.items()} or None
        inputs = {
            "image": scan.source.digest(scan.channels),
            "settings": self.loaded.settings,
            "probabilities": self.options.save_probabilities,
            "calibration": [calibration, known.problem] if known.problem else calibration,
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def _predict_maps(self, scan: ScanState) -> None:
        self.budget.check_scan(scan.channels)
        scan.maps = self.loaded.predictor.predict_probabilities(scan.channels, scan.seconds)

    def _write_outputs(self, scan: ScanState) -> None:
        """Write a scan's masks and run-length codes, and make its record."""
        source, first, run = scan.source, scan.channels[0], self.ensemble.runs[0]
        with scan.seconds.step("review"):
            levels = intensity_levels(first.voxels, run.config.data.intensity)
        review = ScanReview(self.known_classes, first, levels, source.slices)
        masks = self._write_masks(scan, scan.maps, review)
        with scan.seconds.step("write"):
            if source.slices:
                classes = self.ensemble.facts.classes
                rows = rle_csv.scan_rows(source.name, source.slices, classes=classes, masks=masks)
                self._write_file(scan, RLE, lambda path: rle_csv.write(path, rows))
            else:
                deque(masks, maxlen=0)
        seconds = {step: round(value, 3) for step, value in scan.seconds.by_step.items()}
        fields = {"changes": scan.changes, "confidence": review.confidence, "check": review.slices_to_check}
        scan.record = self._make_record(scan, status="done", key=scan.key, seconds=seconds, **fields)

    def _write_masks(self, scan: ScanState, maps: ProbabilityMaps, review: ScanReview) -> Iterator[Mask]:
        """Each class's mask (X, Y, Z), as soon as its files are written."""
        first, cleaning = scan.channels[0], StepTimer()
        most = self.budget.largest_box_voxels(scan.channels)
        cleaned = self.loaded.predictor.postprocess_masks(
            maps, first, cleaning, most=most, changes=scan.changes
        )
        if self.has_room_beside(scan):
            cleaned = processes.prefetch(cleaned)
        for number, (name, mask) in enumerate(scan.seconds.time_items("waiting", cleaned)):
            volume = first.with_voxels(mask)
            self._write_file(scan, f"{name}{MASK}", partial(write_volume, volume))
            with scan.seconds.step("review"):
                review.add_class(name, mask, maps, number)
            if self.options.save_probabilities:
                probability = first.with_voxels(maps.class_probability(number))
                write = partial(write_volume, probability, slope=1 / 255)
                self._write_file(scan, f"{name}{PROBABILITY}", write)
            yield mask
        scan.seconds.by_step.pop("waiting")  # for the cleaning, which has its own timer
        scan.seconds.add(cleaning)

    def _make_record(self, scan: ScanState, **fields: Any) -> PredictionRecord:
        source, identity = scan.source, scan.identity
        trained_on = self.ensemble.trained_on.for_dataset((*source.beside, identity))
        return PredictionRecord(
            scan=source.name,
            case=source.case,
            source=source.origin,
            image_hash=identity.image,
            run=self.ensemble.name,
            weights=self.ensemble.weights_digest,
            classes=self.ensemble.facts.classes,
            fold_set=self.ensemble.set_of(identity),
            seen=trained_on.seen_in_training(identity),
            chose_weights=trained_on.chose_weights(identity),
            unknown_weights=trained_on.unknown,
            **{"files": scan.files, **fields},
        )
