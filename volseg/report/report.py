"""`volseg report`: one page of what a run or its predictions are worth, and where they are worst."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from volseg import console
from volseg.arguments import MaskOptions
from volseg.data.dataset import FILE, Dataset
from volseg.data.mask_files import MaskReader, read_grid
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.intensity_scaling import Percentiles
from volseg.errors import OutputError, UserError
from volseg.evaluation import evaluate, score_files
from volseg.evaluation.scan_scores import ScanScores
from volseg.evaluation.summary import Scores
from volseg.formatting import natural_key
from volseg.inference import tables
from volseg.inference.corrections import missing_masks_problem
from volseg.inference.mask_folder import MaskFolder, holds_masks, load_masks
from volseg.inference.prediction_folder import Prediction, inner_folder_hint, source_slice_numbers
from volseg.inference.prediction_places import dataset_of_predictions, predictions_of_run
from volseg.inference.scan_images import load_scan_images
from volseg.report.page import render_report
from volseg.report.page.content import ReportContent, ReportScan
from volseg.report.page.slice_images import encode_scan, slice_numbers
from volseg.report.run_info import find_prediction_runs, load_runs
from volseg.runs import locate, run_files
from volseg.runs.folds import NAMES, OUT_OF_FOLD
from volseg.visualization.html_page import check_page_target, write_page

PAGE = Path("report.html")
LIMIT = 15_000_000  # bytes of the page: a file of this size can still be sent by mail
SPARE = 1000  # bytes by which the page's text may vary with the number of pictures


@dataclass(frozen=True)
class ReportOutcome:
    """The page, its bytes, and how many scans it shows and only names."""

    path: Path
    size: int
    drawn: int
    named: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ReportSource:
    """The folders of a report: its scores, its predictions, and the run that was named."""

    scores: Path
    predictions: Path | None
    run: Path | None = None

    def display_name(self, records: Sequence[Prediction]) -> str:
        """The label of the run, or of the folder of masks by several runs."""
        runs = {record.run for record in records} - {""}
        if self.run or len(runs) != 1:
            return locate.run_label((self.run or self.predictions or self.scores).resolve())
        return next(iter(runs))


def report(
    what: str,
    *,
    data: Path | None = None,
    out: Path = PAGE,
    scores: Path | None = None,
    options: MaskOptions = MaskOptions(),
) -> ReportOutcome:
    """Write the page of a run or of masks; scores that are missing or out of date are computed.

    `data` is by default the dataset of the predictions, if it holds any of the scans; `scores` the folder of
    scores.csv, by default where `volseg evaluate` leaves it.

    Raises:
        UserError: neither a run nor masks, masks that don't fit the dataset, or `out` is no page.
    """
    check_page_target(out, usual=PAGE)
    source = find_source(what)
    source = replace(source, scores=scores) if scores else source
    dataset, masks = _load_masks(data, source.predictions)
    content = _with_pictures(_build_content(source, masks, dataset, options), dataset, options)
    text = render_report(content)
    write_page(text, out, usual=PAGE)
    drawn = sum(bool(scan.picture) for scan in content.scans)
    return ReportOutcome(out, len(text.encode()), drawn, len(content.scans) - drawn, content.notes)


def find_source(what: str) -> ReportSource:
    """The folders that a name or path stands for: masks, else a run with those of its folds, or its newest.

    Raises:
        UserError: neither masks nor a run.
    """
    folder = Path(what)
    if holds_masks(folder):
        return ReportSource(folder, folder)
    advice = inner_folder_hint(folder) or "name a folder of masks, or one that `volseg train` wrote"
    try:
        run = locate.find_run(what)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error
    if not any((run / name).exists() for name in (run_files.CONFIG, NAMES[0])):
        raise UserError(f"{run}: holds neither masks nor {run_files.CONFIG}; {advice}")
    inner = run / OUT_OF_FOLD
    if inner.is_dir():
        return ReportSource(run, inner, run)
    masks = predictions_of_run(locate.run_label(run))
    return ReportSource(masks or run, masks, run)


def _load_masks(data: Path | None, folder: Path | None) -> tuple[Dataset | None, MaskFolder]:
    """The dataset that holds the scans and their masks, and a note where no dataset holds them.

    Raises:
        UserError: a dataset that was named and holds none of the scans, or damaged masks.
    """
    if folder is None:
        return None, MaskFolder(())
    place = data or dataset_of_predictions(folder)
    if data is None and not (place / FILE).is_file():
        masks = load_masks(folder, None)
        return None, masks.with_notes(f"{place} is no dataset, so there is no truth.")
    dataset = Dataset.load(place)
    masks = load_masks(folder, dataset)
    if any(dataset.find_sample(record.identity) for record in masks.predictions):
        return dataset, masks
    scan = masks.predictions[0].scan
    problem = f"{dataset.folder}: holds none of the predicted scans ({scan} ...)"
    if data is not None:
        raise UserError(f"{problem}; name the dataset that they were predicted from")
    return None, masks.with_notes(f"{problem}, so there is no truth.")


def _build_content(
    source: ReportSource, masks: MaskFolder, dataset: Dataset | None, options: MaskOptions
) -> ReportContent:
    """All but the pictures."""
    records = masks.predictions
    if source.run:
        runs, run_notes = load_runs(source.run)
    else:
        runs, run_notes = find_prediction_runs(records, source.predictions or Path())
    if source.predictions is None:
        run_notes.append(
            "There are no masks here: volseg infer makes them, and its folder can be reported too."
        )
    done = [record for record in records if record.status == "done"]
    scores = _current_scores(source, done, dataset, options, run_notes)
    by_scan = {entry.scan: entry for entry in scores.scans} if scores else {}
    scans = [_report_scan(record, dataset, by_scan.get(record.scan), options) for record in done]
    names = [*(dataset.classes if dataset else ()), *(name for record in done for name in record.classes)]
    reasons = {r.scan: evaluate.why_unscored(r, dataset) for r in done} if dataset else {}
    return ReportContent(
        name=source.display_name(records),
        source=str(source.run or source.predictions),
        date=date.today().isoformat(),
        dataset=dataset.facts.name if dataset else "",
        synthetic=dataset.facts.synthetic if dataset else any(info.run.facts.synthetic for info in runs),
        classes=tuple(dict.fromkeys(names)),
        trained=runs,
        scans=tuple(sorted(scans, key=_worst_first_key)),
        scores=scores,
        unscored={scan: reason for scan, reason in reasons.items() if reason},
        failed={record.scan: record.reason for record in records if record.status == "failed"},
        notes=(*dict.fromkeys((*masks.notes, *(scores.notes if scores else ()))), *run_notes),
    )


def _current_scores(
    source: ReportSource,
    records: Sequence[Prediction],
    dataset: Dataset | None,
    options: MaskOptions,
    notes: list[str],
) -> Scores | None:
    """The scores of these scans, computed anew if scores.csv is of other files; without data as written.

    New scores are kept for the next time, or `notes` says why not.
    """
    known = score_files.read(source.scores)
    if dataset is None:
        written = tuple(known[record.scan] for record in records if record.scan in known)
        return Scores(written) if written else None
    if source.predictions is None or all(evaluate.why_unscored(record, dataset) for record in records):
        return None
    scans = evaluate.find_scorable_scans(source.predictions, dataset.folder, options)
    scores = scans.compute_scores(known=known)
    outdated = _score_keys(scores.scans) != _score_keys(known.values())
    if outdated and not score_files.foreign_files(source.scores):
        try:
            score_files.write(scores, source.scores)
        except OutputError as error:
            notes.append(f"The scores are on this page only: {error}.")
    return scores


def _score_keys(scans: Iterable[ScanScores]) -> list[tuple[str, ...]]:
    """The origins of scores: the same for scores that need not be written again."""
    return [(scan.scan, scan.group, scan.run, scan.made_from) for scan in scans]


def _report_scan(
    record: Prediction, dataset: Dataset | None, scores: ScanScores | None, options: MaskOptions
) -> ReportScan:
    sample = dataset.find_sample(record.identity) if dataset else None
    case, day = (sample.case, sample.day) if sample else (record.scan, None)
    if scores:
        volumes = {name: values["volume_ml"] for name, values in scores.values.items()}
    else:
        volumes = _mask_volumes_ml(record, dataset, options)
    return ReportScan(record, case, day, volumes, scores, slice_numbers=_slice_numbers(record, dataset))


def _slice_numbers(record: Prediction, dataset: Dataset | None) -> list[int]:
    """The numbers of a corrected scan's slices from head to feet; none of a scan without corrections."""
    if not record.correction:
        return []
    sample = dataset.find_sample(record.identity) if dataset else None
    grid = NetworkGrid.from_volume(read_grid(record.mask_file(record.classes[0]).path), None)
    source = sample.slices if sample else source_slice_numbers(record)
    return slice_numbers(grid, source if len(source) == grid.native_shape[grid.slice_axis] else ())


def _mask_volumes_ml(record: Prediction, dataset: Dataset | None, options: MaskOptions) -> dict[str, float]:
    """The volume of each class's mask, on its image's grid where there is one."""
    if problem := missing_masks_problem(record):
        raise UserError(problem)
    sample = dataset.find_sample(record.identity) if dataset else None
    own = record.mask_file(record.classes[0]).path
    grid = read_grid(dataset.grid_file(sample) if dataset and sample else own)
    reader = MaskReader(grid, options)
    voxel_ml = math.prod(grid.spacing_mm) / 1000
    return {name: np.count_nonzero(reader.read(record.mask_file(name))) * voxel_ml for name in record.classes}


def _worst_first_key(scan: ReportScan) -> tuple[bool, float, object]:
    """By Dice; without Dice by the lowest confidence, so that doubtful scans have a picture."""
    unknown = math.isnan(scan.dice)
    return (unknown, tables.lowest_confidence(scan.record) if unknown else scan.dice, natural_key(scan.name))


def _with_pictures(content: ReportContent, dataset: Dataset | None, options: MaskOptions) -> ReportContent:
    """The same content, with pictures from the worst scan on as long as there is room.

    Black and white are as for the network of the first run, where a run is known.
    """
    intensity = content.trained[0].run.config.data.intensity if content.trained else Percentiles()
    empty = tuple(replace(scan, picture="[]") for scan in content.scans)
    room = LIMIT - SPARE - len(render_report(replace(content, scans=empty)).encode())
    drawn: list[ReportScan] = []
    missing: list[str] = []
    with console.progress_bar("drawing") as advance:
        for scan in content.scans:
            images = load_scan_images(scan.record, dataset, content.classes, options)
            picture = encode_scan(images, intensity)
            room -= len(picture) + (0 if missing else len(images.no_image))
            if room < 0:
                break
            drawn.append(replace(scan, picture=picture))
            missing += [images.no_image] if images.no_image else []
            advance(len(drawn), len(content.scans), scan.name)
    notes = (*content.notes, *_no_image_notes(missing))
    return replace(content, scans=(*drawn, *content.scans[len(drawn) :]), notes=notes)


def _no_image_notes(reasons: Sequence[str]) -> Iterator[str]:
    """A note on scans whose outlines stand on black, with the reason of the first."""
    if reasons:
        more = f" ({len(reasons) - 1} more likewise)" if len(reasons) > 1 else ""
        yield f"Outlines stand on black where there is no image: {reasons[0]}{more}."
