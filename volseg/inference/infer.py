"""`volseg infer`: from runs and scans to masks on each scan's native grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from volseg import console
from volseg.arguments import InferArguments
from volseg.errors import UserError
from volseg.inference import prediction_folder
from volseg.inference.confidence.day_changes import flag_day_changes
from volseg.inference.ensemble import Ensemble
from volseg.inference.prediction_folder import PredictionRecord
from volseg.inference.scan_pipeline import ScanPipeline, log
from volseg.inference.scan_sources import find_scan_sources, slice_distance_note
from volseg.system import processes


@dataclass(frozen=True)
class InferenceResult:
    """The record of each scan, the runs that predicted them, and notes for the user.

    `kept` are the scans that were not predicted, as their masks were corrected by hand.
    """

    ensemble: Ensemble
    records: tuple[PredictionRecord, ...]
    notes: tuple[str, ...]
    kept: tuple[str, ...] = ()

    @property
    def failed_records(self) -> tuple[PredictionRecord, ...]:
        """The scans without masks."""
        return tuple(record for record in self.records if record.status == "failed")


def infer(options: InferArguments) -> InferenceResult:
    """Predict scans by networks that are loaded once; a scan that fails leaves the others alone.

    A scan whose masks were made from the same image, weights and settings is not predicted again, nor is one
    whose masks were corrected by hand, of which a note tells. While a
    scan is predicted, the next one is read and the last one is cleaned and written.

    Raises:
        UserError: nothing to predict, runs that don't fit, a full disk, or every scan failed.
    """
    ensemble = Ensemble.open(options.run)
    ensemble = ensemble.first_run_only if options.fast else ensemble
    sources = find_scan_sources(options, ensemble)
    pipeline = ScanPipeline.with_loaded_networks(ensemble, options)
    network, reason = pipeline.loaded.predictor.members[0].network, pipeline.loaded.reason
    log.info("%s by %s (%s): %d scans", ensemble, network, reason, len(sources))
    records = []
    with console.progress_bar("predicting") as report:
        for record in processes.pipelined(
            sources,
            pipeline.read_scan,
            pipeline.predict_scan,
            pipeline.finish_scan,
            beside=pipeline.has_room_beside,
        ):
            records.append(record)
            report(len(records), len(sources), record.scan)
    records = _compare_with_other_days(records, pipeline)
    prediction_folder.gather_records(options.out)
    if all(record.status == "failed" for record in records):
        raise UserError.from_problems(f"{record.scan}: {record.reason}" for record in records)
    notes = (
        *pipeline.kept.values(),
        slice_distance_note(options, sources, ensemble),
        *ensemble.notes(),
        pipeline.known_classes.problem,
        *_training_overlap_notes(records, ensemble),
    )
    return InferenceResult(ensemble, tuple(records), tuple(filter(None, notes)), tuple(pipeline.kept))


def _compare_with_other_days(
    records: Sequence[PredictionRecord], pipeline: ScanPipeline
) -> list[PredictionRecord]:
    """The records with the flags that only other days of a case raise, in their files too."""
    kept = {record.scan: record for record in records if record.scan in pipeline.kept}
    earlier = [kept.get(old.scan, old) for old in prediction_folder.read_records(pipeline.options.out)]
    new_ones = [record for record in records if record.scan not in kept]
    flagged = {r.scan: r for r in flag_day_changes(new_ones, earlier, pipeline.known_classes.organs)}
    for old in new_ones:
        if old != flagged[old.scan]:
            prediction_folder.write_record(flagged[old.scan], pipeline.options.out / old.scan)
    return [flagged.get(record.scan, record) for record in records]


def _training_overlap_notes(records: Sequence[PredictionRecord], ensemble: Ensemble) -> Iterator[str]:
    """Warnings of scans that training saw: their masks say nothing about new patients."""
    texts = {"scan": "was itself trained on", "case": "is another day of a case that was trained on"}
    for seen, text in texts.items():
        names = [record.scan for record in records if record.seen == seen]
        if names:
            runs = ensemble.name if len(ensemble.runs) == 1 else f"one or more of {ensemble.name}"
            yield f"{', '.join(names)}: {text} by {runs}"
    namesakes = [one.scan for one in records if ensemble.trained_on.has_namesake(one.identity)]
    if namesakes:
        yield f"{', '.join(namesakes)}: has the name of a scan that training saw, but another image"
    if ensemble.trained_on.unknown:
        yield f"unknown which scans these weights saw: {', '.join(ensemble.trained_on.unknown)}"
