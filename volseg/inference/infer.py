"""`volseg infer`: from runs and scans to masks on each scan's native grid."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from volseg.arguments import CohortArguments, InferArguments
from volseg.cohort.run import run
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.errors import UserError
from volseg.formatting import format_count, join_names
from volseg.inference import prediction_folder
from volseg.inference.confidence.calibration_file import KnownClasses
from volseg.inference.confidence.day_changes import flag_day_changes
from volseg.inference.ensemble import Ensemble
from volseg.inference.infer_work import InferWork, PredictedScan
from volseg.inference.memory_forecast import forecast_memory
from volseg.inference.opening import open_gated
from volseg.inference.prediction_places import mark_begin, with_places
from volseg.inference.prediction_record import PredictionRecord
from volseg.inference.run_settings import configure_run
from volseg.inference.scan_pipeline import ScanPipeline, log
from volseg.inference.scan_sources import ScanSource, find_scan_sources, slice_distance_note
from volseg.inference.shards import scans_of_shard
from volseg.inference.training_range import outside_notes
from volseg.system.files import private_files
from volseg.system.locks import folder_lock


@dataclass(frozen=True)
class InferenceResult:
    """The runs that predicted, the folder of the masks, the record of each scan, and notes for the user.

    `kept` are the scans that were not predicted, as their masks were corrected by hand. `series` are the
    volumes of DICOM among the scans.
    """

    ensemble: Ensemble
    out: Path
    records: tuple[PredictionRecord, ...]
    notes: tuple[str, ...]
    kept: tuple[str, ...] = ()
    series: Mapping[str, DicomSeries] = field(default_factory=dict)

    @property
    def failed_records(self) -> tuple[PredictionRecord, ...]:
        """The scans without masks."""
        return tuple(record for record in self.records if record.status == "failed")


def infer(options: InferArguments, cohort: CohortArguments = CohortArguments()) -> InferenceResult:
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
    options = with_places(options, ensemble)
    sources = find_scan_sources(options, ensemble)
    all_scans = len(sources)
    sources = scans_of_shard(sources, options.shard) if options.shard else sources
    if not sources:
        return InferenceResult(ensemble, options.folder, (), (_nothing_note(options, all_scans),))
    series = {source.name: source.series for source in sources if source.series}
    with private_files() if series else nullcontext():
        result = _infer_sources(options, ensemble, sources, start, cohort)
    return replace(result, series=series)


def _infer_sources(
    options: InferArguments,
    ensemble: Ensemble,
    sources: Sequence[ScanSource],
    start: float,
    cohort: CohortArguments,
) -> InferenceResult:
    """Predict these scans; the time for them, where it is limited, runs from `start`."""
    if cohort.on:
        work = _work_elsewhere(options, ensemble, sources)
        items = [replace(source, beside=()) for source in sources]
        log.info("%s on %s: %d scans", ensemble, cohort.on, len(sources))
    else:
        work, items = _work_here(options, ensemble, sources, start), list(sources)
    mark_begin(options)
    results: dict[int, PredictedScan] = dict(run(work, items, cohort))
    scans = [results[position] for position in range(len(sources))]
    known = KnownClasses.of_ensemble(ensemble, _views(ensemble, options))
    with folder_lock(options.folder):  # other processes may write their shares there
        earlier = prediction_folder.read_records(options.folder)  # once: there may be very many
        records = _compare_with_other_days(scans, earlier, known)
        written = {one.scan: one for one in _write_changed(scans, records, options.folder)}
        prediction_folder.gather_records(options.folder, (written.get(one.scan, one) for one in earlier))
    if all(record.status == "failed" for record in records):
        raise UserError.from_problems(f"{record.scan}: {record.reason}" for record in records)
    limit = work.pipeline.limit if work.pipeline else None
    notes = (
        *(scan.kept for scan in scans),
        *(scan.removed for scan in scans),
        slice_distance_note(options, sources, ensemble),
        *ensemble.notes(),
        known.problem,
        *prediction_folder.reduction_notes(records),
        limit.lateness() if limit else "",
        ensemble.training_range.problem,
        *outside_notes(records),
        *_training_overlap_notes(records, ensemble),
    )
    kept = tuple(scan.record.scan for scan in scans if scan.kept)
    return InferenceResult(ensemble, options.folder, tuple(records), tuple(filter(None, notes)), kept)


def _work_here(
    options: InferArguments, ensemble: Ensemble, sources: Sequence[ScanSource], start: float
) -> InferWork:
    """The work of this process, whose networks are loaded."""
    pipeline = ScanPipeline.with_loaded_networks(ensemble, options, sources, start)
    loaded = pipeline.efforts[0].loaded
    log.info("%s by %s (%s): %d scans", ensemble, loaded.networks[0], loaded.reason, len(sources))
    return InferWork(options, ensemble, pipeline)


def _work_elsewhere(options: InferArguments, ensemble: Ensemble, sources: Sequence[ScanSource]) -> InferWork:
    """The work of others, who load the networks.

    Raises:
        UserError: a limit of time, which no worker could keep for all, or one GPU of several.
    """
    if options.device not in (None, "cpu", "cuda"):
        raise UserError(f"--device {options.device}: each worker is given its own; leave it out, or --on")
    if options.max_seconds is not None:
        raise UserError("--max-time: is for this process alone; leave it out, or --on")
    memory = options.max_memory or forecast_memory(ensemble, sources, options)
    options.folder.mkdir(parents=True, exist_ok=True)  # which each node is to see
    private = any(source.series for source in sources)
    beside = next((source.beside for source in sources), ())
    return InferWork(options, ensemble, beside=beside, private=private, memory=memory)


def _views(ensemble: Ensemble, options: InferArguments) -> int:
    """How many mirrored views are averaged."""
    return max(configure_run(run, options).config.inference.views for run in ensemble.runs)


def _nothing_note(options: InferArguments, scans: int) -> str:
    """Why nothing is predicted."""
    if scans:
        return f"--shard {options.shard}: has none of the {format_count(scans, 'scan')}; nothing is predicted"
    return f"{options.dataset}: has no scans; nothing is predicted"


def _compare_with_other_days(
    scans: Sequence[PredictedScan], earlier: Sequence[PredictionRecord], known: KnownClasses
) -> list[PredictionRecord]:
    """The records with the flags that only other days of a case raise, `earlier` ones among them."""
    kept = {scan.record.scan: scan.record for scan in scans if scan.kept}
    others = [kept.get(old.scan, old) for old in earlier]
    new_ones = [scan.record for scan in scans if not scan.kept]
    flagged = {one.scan: one for one in flag_day_changes(new_ones, others, known.organs)}
    return [flagged.get(scan.record.scan, scan.record) for scan in scans]


def _write_changed(
    scans: Sequence[PredictedScan], records: Sequence[PredictionRecord], out: Path
) -> Iterator[PredictionRecord]:
    """Write the records that are not as their scans had them, and yield them."""
    for scan, record in zip(scans, records, strict=True):
        if record != scan.record:
            prediction_folder.write_record(record, out / record.scan)
            yield record


def _training_overlap_notes(records: Sequence[PredictionRecord], ensemble: Ensemble) -> Iterator[str]:
    """Warnings of scans that training saw: their masks say nothing about new patients."""
    one = {"scan": "was itself trained on", "case": "is another day of a case that was trained on"}
    more = {"scan": "were themselves trained on", "case": "are other days of cases that were trained on"}
    for seen in one:
        names = [record.scan for record in records if record.seen == seen]
        if names:
            text = (more if len(names) > 1 else one)[seen]
            gate = f" and the gate {ensemble.gate.ensemble.name}" if ensemble.gate else ""
            several = "one or more of " if len(ensemble.runs) > 1 or gate else ""
            yield f"{join_names(names)}: {text} by {several}{ensemble.name}{gate}"
    if unsure := [record.scan for record in records if record.seen == "unknown"]:
        yield (
            f"{ensemble.name}: was not trained on these images, but holds no names of training scans, so "
            f"whether on other days of these cases is unknown: {join_names(unsure)}"
        )
    namesakes = [one.scan for one in records if ensemble.trained_on.has_namesake(one.identity)]
    if namesakes:
        have = "have names of scans" if len(namesakes) > 1 else "has the name of a scan"
        yield f"{join_names(namesakes)}: {have} that training saw, but another image"
    if ensemble.trained_on.unknown:
        yield f"unknown which scans these weights saw: {', '.join(ensemble.trained_on.unknown)}"
