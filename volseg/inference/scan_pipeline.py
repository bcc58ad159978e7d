"""One scan from its files to its masks: read, predict, clean, write; the steps of several scans overlap."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from volseg.arguments import InferArguments
from volseg.cohort.work import TakenOver
from volseg.data.layouts.gi_tract import rle_csv
from volseg.data.volume_files import write_volume
from volseg.errors import OutputError, UserError
from volseg.inference import prediction_folder
from volseg.inference.confidence.review import ScanReview, intensity_levels
from volseg.inference.earlier_prediction import EarlierPrediction
from volseg.inference.ensemble import Ensemble
from volseg.inference.input_paths import channels_problem
from volseg.inference.memory_budget import MemoryBudget, resident_bytes
from volseg.inference.prediction_folder import MASK, PROBABILITY, RLE, STOPPED
from volseg.inference.prediction_record import PredictionRecord
from volseg.inference.predictor import Mask
from volseg.inference.probability_maps import ProbabilityMaps
from volseg.inference.scan_record import claim_of, computed_now, scan_record
from volseg.inference.scan_sources import ScanSource
from volseg.inference.scan_state import ScanState
from volseg.inference.time_limit import Effort, TimeLimit, possible_efforts
from volseg.inference.training_range import UNLIKE, outside_fields
from volseg.model.engines.device_errors import device_errors
from volseg.system import processes
from volseg.system.files import file_sha256, partial_path, readable_write_errors
from volseg.system.timing import StepTimer

log = logging.getLogger(__name__)
LESS_MEMORY = "end what else takes memory, or say by --max-memory what predicting may take"
MASK_FIELDS = {"files", "seconds", "changes", "confidence", "check", "computed"}
"""What a record says of a scan's masks; it stays as long as they do."""
_LOADS = count(1)


@dataclass(frozen=True)
class ScanPipeline:
    """The runs, what they can be made to predict by, and how and whereto the options say to predict.

    `efforts` are all networks and views and, where there is a limit of time, ever fewer of them. `kept` has a
    line for each scan whose masks were corrected by hand, and so are not replaced; `removed` has one for each
    whose corrections were removed by force. `loads` is how often this process has loaded networks, and
    `memory_budget` is in place of --max-memory after a process was ended for want of memory, else 0.
    """

    ensemble: Ensemble
    efforts: tuple[Effort, ...]
    budget: MemoryBudget
    options: InferArguments
    limit: TimeLimit | None = None
    kept: dict[str, str] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    loads: int = field(default_factory=lambda: next(_LOADS))
    memory_budget: int = 0

    @classmethod
    def with_loaded_networks(
        cls, ensemble: Ensemble, options: InferArguments, sources: Sequence[ScanSource], start: float
    ) -> "ScanPipeline":
        """The pipeline of an ensemble whose networks are loaded within the memory that is allowed.

        The time for all scans, where it is limited, runs from `start`.
        """
        limit, channels = options.max_memory, len(ensemble.facts.channels)
        before = resident_bytes()
        loaded = ensemble.load(options, at_once=None if limit is None else 1)
        budget = MemoryBudget.for_predictor(loaded.predictor, channels, limit)
        if limit is not None and 2 * budget.loaded - before < limit / 2:  # room for more windows
            loaded = ensemble.load(options)
            budget = MemoryBudget.for_predictor(loaded.predictor, channels, limit)
        if options.max_seconds is None:
            return cls(ensemble, (Effort.of(loaded),), budget, options)
        efforts = possible_efforts(loaded)
        time_limit = TimeLimit(efforts, sources, start, options.max_seconds)
        return cls(ensemble, efforts, budget, options, time_limit)

    def has_room_beside(self, scan: ScanState) -> bool:
        """Whether the next scan may be read, and the last one written, while this one is predicted."""
        return scan.record is not None or self.budget.has_room_beside(scan.channels)

    def read_scan(self, source: ScanSource, attempt: int = 1) -> ScanState:
        """Read a scan, unless its masks are there already; then it has its record."""
        names = [file for name in self.ensemble.facts.classes for file in self._class_files(name)]
        files = (*names, RLE) if source.slices else names
        earlier = EarlierPrediction.find_in(self.options.folder / source.name, files)
        scan = ScanState(source, earlier, self.efforts[0], attempt)
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
            self._check_claim(scan)
            prediction_folder.write_record(scan.record, scan.folder)
        return scan.record

    def _attempt_step(self, scan: ScanState, step: Callable[[ScanState], None]) -> ScanState:
        """A scan after a step; one that fails gets a record that says why."""
        try:
            if scan.record is None:
                with device_errors(None, LESS_MEMORY):
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
        self._check_claim(scan)
        for name in scan.files:
            (scan.folder / name).unlink(missing_ok=True)
        scan.files.clear()
        if not scan.owns_folder and (self.options.force or not (scan.conflict or scan.earlier.peoples_files)):
            scan.owns_folder = scan.earlier.remove_unless_open()

    def _read_channels(self, scan: ScanState) -> None:
        with scan.seconds.step("read"):
            scan.channels = scan.source.read_channels()
            names = self.ensemble.facts.channels
            if len(scan.channels) != len(names):
                raise UserError(channels_problem(len(scan.channels), names))
            scan.digest, scan.identity = (
                scan.source.digest(scan.channels),
                scan.source.identity(scan.channels),
            )
        scan.earlier = scan.earlier.as_it_is_now()  # another worker may have ended it meanwhile
        if self.options.force:
            self.removed[scan.source.name] = scan.earlier.remove_corrections()
        elif scan.conflict:
            raise UserError(scan.conflict)
        known = self.ensemble.training_range
        scan.outside = known.check_scan(scan.source.name, scan.channels, strict=self.options.strict)
        earlier = scan.earlier
        if self._keep(scan, earlier.edited_files) or self._reuse(scan):
            return
        if not self._keep(scan, earlier.correction_folders):
            earlier.remove()
            scan.owns_folder, scan.effort = True, self.efforts[0]
            self._record_stop(scan)
            scan.claimed = True

    def _keep(self, scan: ScanState, work: Sequence[str]) -> bool:
        """Whether a scan stays as it is for somebody's work there."""
        if self.options.force or not work:
            return False
        scan.record, self.kept[scan.source.name] = scan.earlier.keep_corrected()
        return True

    def _reuse(self, scan: ScanState) -> bool:
        """Whether a scan was predicted from the same inputs; what was corrected beside its masks stays."""
        for effort in self.efforts:  # an earlier call under the same limit may have used any of them
            scan.effort, key = effort, effort.prediction_key(scan.digest, self.options)
            if old := scan.earlier.reusable_record(key):
                log.info("%s: unchanged, not done again", scan.source.name)
                fields = {name: getattr(old, name) for name in MASK_FIELDS}
                scan.owns_folder = True
                scan.record = self._make_record(scan, status="done", key=key, **fields)
                return True
        return False

    def _record_stop(self, scan: ScanState) -> None:
        """Write the record of a scan that is stopped here, with the files that it has so far."""
        self._check_claim(scan)
        stopped = self._make_record(scan, status="failed", reason=STOPPED)
        prediction_folder.write_record(stopped, scan.folder)

    def _write_file(self, scan: ScanState, name: str, write: Callable[[Path], None]) -> None:
        """Write a file of a scan, whose hash is in the record before the file appears."""
        path = scan.folder / name
        temporary = partial_path(scan.folder / f"new{path.suffix}")
        try:
            write(temporary)
            scan.files[name] = file_sha256(temporary)
            self._record_stop(scan)
            with readable_write_errors(path):
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _predict_maps(self, scan: ScanState) -> None:
        self.budget.check_scan(scan.channels)
        scan.effort = self.limit.choose(scan.source) if self.limit else scan.effort
        scan.maps = scan.effort.loaded.predictor.predict_probabilities(scan.channels, scan.seconds)

    def _write_outputs(self, scan: ScanState) -> None:
        """Write a scan's masks and run-length codes, and make its record."""
        source, first, run = scan.source, scan.channels[0], self.ensemble.runs[0]
        with scan.seconds.step("review"):
            levels = intensity_levels(first.voxels, run.config.data.intensity)
        doubt = UNLIKE if scan.outside else ""
        review = ScanReview(scan.effort.known_classes, first, levels, source.slices, doubt)
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
        key = scan.effort.prediction_key(scan.digest, self.options)
        scan.record = self._make_record(scan, status="done", key=key, seconds=seconds, **fields)

    def _write_masks(self, scan: ScanState, maps: ProbabilityMaps, review: ScanReview) -> Iterator[Mask]:
        """Each class's mask (X, Y, Z), as soon as its files are written."""
        first, cleaning = scan.channels[0], StepTimer()
        most = self.budget.largest_box_voxels(scan.channels)
        cleaned = scan.effort.loaded.predictor.postprocess_masks(
            maps, first, cleaning, most=most, changes=scan.changes
        )
        if self.has_room_beside(scan):
            cleaned = processes.prefetch(cleaned)
        for number, (name, mask) in enumerate(scan.seconds.time_items("waiting", cleaned)):
            volume = first.with_voxels(mask)
            self._write_file(scan, f"{name}{MASK}", partial(write_volume, volume))
            with scan.seconds.step("review"):
                review.add_class(name, mask, maps, number, changes=scan.changes[name])
            if self.options.save_probabilities:
                probability = first.with_voxels(maps.class_probability(number))
                write = partial(write_volume, probability, slope=1 / 255)
                self._write_file(scan, f"{name}{PROBABILITY}", write)
            yield mask
        scan.seconds.by_step.pop("waiting")  # for the cleaning, which has its own timer
        scan.seconds.add(cleaning)

    def _make_record(self, scan: ScanState, **fields: Any) -> PredictionRecord:
        now = computed_now(loads=self.loads, attempts=scan.attempt, memory_budget=self.memory_budget)
        told = {"reduced": scan.effort.reduced, "files": scan.files, "computed": now, **fields}
        return scan_record(
            scan.source, scan.identity, scan.effort.loaded.ensemble, **outside_fields(told, scan.outside)
        )

    def _check_claim(self, scan: ScanState) -> None:
        """Raise TakenOver if another worker has begun with the scan since this one did."""
        record = prediction_folder.read_record(scan.folder) if scan.claimed else None
        now = computed_now()
        if record and claim_of(record.computed) != (now.host, now.process, scan.attempt):
            raise TakenOver(scan.source.name)
