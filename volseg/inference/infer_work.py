"""Prediction as work on a cohort: by threads of this process, or by workers that load the networks once."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from volseg.arguments import InferArguments
from volseg.data.image_identity import ScanIdentity
from volseg.formatting import format_count
from volseg.inference import prediction_folder
from volseg.inference.earlier_prediction import EarlierPrediction
from volseg.inference.ensemble import Ensemble
from volseg.inference.prediction_record import PredictionRecord
from volseg.inference.scan_pipeline import ScanPipeline
from volseg.inference.scan_record import computed_now, scan_record
from volseg.inference.scan_sources import ScanSource
from volseg.inference.scan_state import ScanState
from volseg.system import processes


class PredictedScan(NamedTuple):
    """The record of a scan, and lines that tell of corrections that were kept or removed, or ''."""

    record: PredictionRecord
    kept: str = ""
    removed: str = ""


@dataclass(frozen=True)
class InferWork:
    """The prediction of scans by an ensemble; a scan travels without the others of its dataset.

    `pipeline` is the one of this process where that predicts; `started` is when the work began (UTC).
    """

    options: InferArguments
    ensemble: Ensemble
    pipeline: ScanPipeline | None = None
    beside: tuple[ScanIdentity, ...] = ()
    private: bool = False
    memory: int = 0
    started: str = field(default_factory=lambda: computed_now().finished)
    label: str = "predicting"
    at_once: int = 2
    cores: int | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU is used where there is one."""
        return self.options.device in (None, "cuda") and self.options.engine in ("auto", "torch")

    @property
    def folders(self) -> Sequence[Path]:
        """The runs, the place of the masks and of the scans."""
        sources = self.options.input or (self.options.dataset,)
        around = [path if path.is_dir() else path.parent for path in sources]
        runs = [run.folder for run in self.ensemble.runs]
        return [path.resolve() for path in dict.fromkeys([self.options.folder, *around, *runs])]

    def name(self, item: ScanSource) -> str:
        """The scan's name."""
        return item.name

    def cost(self, item: ScanSource) -> int:
        """Its voxels; less than any where its record is there, so that it is merely looked at."""
        record = prediction_folder.read_record(self.options.folder / item.name)
        return -1 if record and record.status == "done" else item.voxels

    def problem(self, result: PredictedScan) -> str:
        """Why the scan failed, or ''."""
        return result.record.reason if result.record.status == "failed" else ""

    def here(
        self, items: Sequence[ScanSource], begun: Callable[[ScanSource], None]
    ) -> Iterator[tuple[int, PredictedScan]]:
        """The scans one after another; the next is read and the last is written meanwhile."""
        pipeline = self.pipeline
        if pipeline is None:
            raise AssertionError("the networks are loaded elsewhere")

        def read(source: ScanSource) -> ScanState:
            begun(source)
            return pipeline.read_scan(source)

        records = processes.pipelined(
            items, read, pipeline.predict_scan, pipeline.finish_scan, beside=pipeline.has_room_beside
        )
        for position, record in enumerate(records):
            yield position, _with_notes(record, pipeline)

    def open(self, max_memory: int | None) -> "InferWorker":
        """Load the networks; files of DICOM are their user's alone."""
        if self.private:
            os.umask(0o077)
        limit = max_memory or self.options.max_memory
        options = replace(self.options, max_memory=limit)
        pipeline = ScanPipeline.with_loaded_networks(self.ensemble, options, (), time.monotonic())
        return InferWorker(replace(pipeline, memory_budget=max_memory or 0), self.beside)

    def lost(self, item: ScanSource, reason: str, attempts: int) -> PredictedScan:
        """The record of a scan that cost its workers their lives, unless the last one had just ended it."""
        folder = self.options.folder / item.name
        earlier = EarlierPrediction.find_in(folder, ())
        old = earlier.prediction
        if old and old.status == "done" and old.computed.finished >= self.started:
            return PredictedScan(prediction_folder.read_record(folder) or old)
        told = f"{reason}; {format_count(attempts, 'worker')} died over it"
        told = f"{told}; see whether its files are damaged, or give it more memory"
        source, computed = replace(item, beside=self.beside), computed_now(attempts=attempts)
        fields = {"status": "failed", "reason": told, "computed": computed}
        record = scan_record(source, source.identity(()), self.ensemble, **fields)
        blocked = earlier.peoples_files or earlier.conflict_with(source.origin, "")
        if (self.options.force or not blocked) and earlier.remove_unless_open():
            prediction_folder.write_record(record, folder)
        return PredictedScan(record)


class InferWorker:
    """The loaded networks of a worker; one thread predicts while the other reads or writes."""

    def __init__(self, pipeline: ScanPipeline, beside: tuple[ScanIdentity, ...]) -> None:
        """Nothing is predicted yet."""
        self._pipeline, self._beside = pipeline, beside
        self._reading, self._predicting, self._finishing = (threading.Lock() for _ in range(3))

    @property
    def max_memory(self) -> int:
        """The bytes that it keeps to."""
        return self._pipeline.budget.limit

    def __call__(self, item: ScanSource, attempt: int) -> PredictedScan:
        """Predict one scan; where it leaves no room beside it, nothing else is done meanwhile."""
        pipeline, source = self._pipeline, replace(item, beside=self._beside)
        with ExitStack() as to_the_end:
            with ExitStack() as while_reading:
                while_reading.enter_context(self._reading)
                scan = pipeline.read_scan(source, attempt)
                alone = not pipeline.has_room_beside(scan)
                if alone:
                    to_the_end.enter_context(while_reading.pop_all())
            with self._predicting:
                if alone:
                    to_the_end.enter_context(self._finishing)
                scan = pipeline.predict_scan(scan)
                if not alone:
                    to_the_end.enter_context(self._finishing)
            return _with_notes(pipeline.finish_scan(scan), pipeline)


def _with_notes(record: PredictionRecord, pipeline: ScanPipeline) -> PredictedScan:
    """A record with what is to be told of the scan's corrections."""
    return PredictedScan(record, pipeline.kept.get(record.scan, ""), pipeline.removed.get(record.scan, ""))
