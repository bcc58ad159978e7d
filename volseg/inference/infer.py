"""`volseg infer`: from runs and scans to masks on each scan's native grid."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from volseg import console
from volseg.arguments import InferArguments
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.errors import UserError
from volseg.formatting import format_count
from volseg.inference import prediction_folder
from volseg.inference.confidence.day_changes import flag_day_changes
from volseg.inference.ensemble import Ensemble
from volseg.inference.opening import open_gated
from volseg.inference.prediction_folder import PredictionRecord
from volseg.inference.scan_pipeline import ScanPipeline, log
from volseg.inference.scan_sources import ScanSource, find_scan_sources, slice_distance_note
from volseg.inference.shards import scans_of_shard
from volseg.inference.training_range import outside_notes
from volseg.system import processes
from volseg.system.files import private_files
from volseg.system.locks import folder_lock


@dataclass(frozen=True)
class InferenceResult:
    """The record of each scan, the runs that predicted them, and notes for the user.

    `kept` are the scans that were not predicted, as their masks were corrected by hand. `series` are the
    volumes of DICOM among the scans.
    """

    ensemble: Ensemble
    records: tuple[PredictionRecord, ...]
    notes: tuple[str, ...]
    kept: tuple[str, ...] = ()
    series: Mapping[str, DicomSeries] = field(default_factory=dict)

    @property
    def failed_records(self) -> tuple[PredictionRecord, ...]:
        """The scans without masks."""
        return tuple(record for record in self.records if record.status == "failed")


def infer(options: InferArguments) -> InferenceResult:
    """Predict scans by networks that are loaded once; a scan that fails leaves the others alone.

    A scan whose masks were made from the same image, weights and settings is not predicted again, nor is one
    whose masks were corrected by hand, of which a note tells. While a scan is predicted, the next one is read
    and the last one is cleaned and written. A dataset without scans, or a share of the scans that none falls
    to, gives no records and a note.

    Raises:
        UserError: nothing to predict, runs that don't fit, a full disk, or every scan failed.
    """
    start = time.monotonic()
    ensemble = open_gated(options.run, options.gate)
    ensemble = ensemble.first_run_only if options.fast else ensemble
    sources = find_scan_sources(options, ensemble)
    all_scans = len(sources)
    sources = scans_of_shard(sources, options.shard) if options.shard else sources
    if not sources:
        return InferenceResult(ensemble, (), (_nothing_note(options, all_scans),))
    series = {source.name: source.series for source in sources if source.series}
    with private_files() if series else nullcontext():
        result = _infer_sources(options, ensemble, sources, start)
    return replace(result, series=series)


def _infer_sources(
    options: InferArguments, ensemble: Ensemble, sources: Sequence[ScanSource], start: float
) -> InferenceResult:
    """Predict these scans; the time for them, where it is limited, runs from `start`."""
    pipeline = ScanPipeline.with_loaded_networks(ensemble, options, sources, start)
    loaded = pipeline.efforts[0].loaded
    log.info("%s by %s (%s): %d scans", ensemble, loaded.networks[0], loaded.reason, len(sources))
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
    with folder_lock(options.out):  # other processes may write their shares there
        records = _compare_with_other_days(records, pipeline)
        prediction_folder.gather_records(options.out)
    if all(record.status == "failed" for record in records):
        raise UserError.from_problems(f"{record.scan}: {record.reason}" for record in records)
    notes = (
        *pipeline.kept.values(),
        *pipeline.removed.values(),
        slice_distance_note(options, sources, ensemble),
        *ensemble.notes(),
        pipeline.efforts[0].known_classes.problem,
        *prediction_folder.reduction_notes(records),
        pipeline.limit.lateness() if pipeline.limit else "",
        ensemble.training_range.problem,
        *outside_notes(records),
        *_training_overlap_notes(records, ensemble),
    )
    return InferenceResult(ensemble, tuple(records), tuple(filter(None, notes)), tuple(pipeline.kept))


def _nothing_note(options: InferArguments, scans: int) -> str:
    """Why nothing is predicted."""
    if scans:
        return f"--shard {options.shard}: has none of the {format_count(scans, 'scan')}; nothing is predicted"
    return f"{options.data}: has no scans; nothing is predicted"


def _compare_with_other_days(
    records: Sequence[PredictionRecord], pipeline: ScanPipeline
) -> list[PredictionRecord]:
    """The records with the flags that only other days of a case raise, in their files too."""
    kept = {record.scan: record for record in records if record.scan in pipeline.kept}
    earlier = [kept.get(old.scan, old) for old in prediction_folder.read_records(pipeline.options.out)]
    new_ones = [record for record in records if record.scan not in kept]
    flagged = {
        r.scan: r for r in flag_day_changes(new_ones, earlier, pipeline.efforts[0].known_classes.organs)
    }
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
            gate = f" and the gate {ensemble.gate.ensemble.name}" if ensemble.gate else ""
            several = "one or more of " if len(ensemble.runs) > 1 or gate else ""
            yield f"{', '.join(names)}: {text} by {several}{ensemble.name}{gate}"
    namesakes = [one.scan for one in records if ensemble.trained_on.has_namesake(one.identity)]
    if namesakes:
        yield f"{', '.join(namesakes)}: has the name of a scan that training saw, but another image"
    if ensemble.trained_on.unknown:
        yield f"unknown which scans these weights saw: {', '.join(ensemble.trained_on.unknown)}"
