"""`volseg infer`: from runs and scans to masks on each scan's native grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg import console
from volseg.errors import UserError
from volseg.inference import prediction_folder
from volseg.inference.confidence.day_changes import flag_day_changes
from volseg.inference.ensemble import Ensemble
from volseg.inference.prediction_folder import PredictionRecord
from volseg.inference.scan_pipeline import ScanPipeline, log
from volseg.inference.scan_sources import InferenceRequest, find_scan_sources
from volseg.system import processes


@dataclass(frozen=True)
class InferenceResult:
    """What became of each scan, where the masks lie, and by what they are."""

    ensemble: Ensemble
    out: Path
    records: tuple[PredictionRecord, ...]
    notes: tuple[str, ...]

    @property
    def failed_records(self) -> tuple[PredictionRecord, ...]:
        """The scans without masks."""
        return tuple(record for record in self.records if record.status == "failed")


def infer(wanted: InferenceRequest) -> InferenceResult:
    """Predict the scans asked for, the models loaded once; a scan that fails leaves the others alone.

    A scan whose masks were made from the same image, weights and settings is not done again. While one
    is predicted, the next is read and the last one is cleaned and written.

    Raises:
        UserError: nothing to predict, runs that don't fit, a full disk, or every scan failed.
    """
    by = Ensemble.open(wanted.runs)
    by = by.first_run_only if wanted.how.fast else by
    planned = find_scan_sources(wanted, by)
    maker = ScanPipeline.with_loaded_networks(by, wanted)
    network, reason = maker.loaded.predictor.members[0].network, maker.loaded.reason
    log.info("%s by %s (%s): %d scans", by, network, reason, len(planned))
    records = []
    with console.progress_bar("predicting") as report:
        line = processes.pipelined(
            planned, maker.read_scan, maker.predict_scan, maker.finish_scan, beside=maker.has_room_beside
        )
        for record in line:
            records.append(record)
            report(len(records), len(planned), record.scan)
    records = _compare_with_other_days(records, maker)
    prediction_folder.gather_records(wanted.out)
    if all(record.status == "failed" for record in records):
        raise UserError.from_problems(f"{record.scan}: {record.reason}" for record in records)
    return InferenceResult(
        by, wanted.out, tuple(records), (*by.notes(), *_training_overlap_notes(records, by))
    )


def _compare_with_other_days(
    records: Sequence[PredictionRecord], maker: "ScanPipeline"
) -> list[PredictionRecord]:
    """The records with what only shows beside other days, in the files too."""
    judged = flag_day_changes(records, prediction_folder.read_records(maker.out), maker.calibrated_classes)
    for old, new in zip(records, judged, strict=True):
        if old != new:
            prediction_folder.write_record(new, maker.out / new.scan)
    return judged


def _training_overlap_notes(records: Sequence[PredictionRecord], by: Ensemble) -> Iterator[str]:
    """Warn where training saw what was predicted: such masks say nothing about new patients."""
    for seen, text in (
        ("scan", "was itself trained on"),
        ("case", "is another day of a case that was trained on"),
    ):
        names = [record.scan for record in records if record.seen == seen]
        if names:
            who = by.name if len(by.runs) == 1 else f"one or more of {by.name}"
            yield f"{', '.join(names)}: {text} by {who}"
