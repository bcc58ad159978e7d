"""`volseg report`: one page of what a run or its predictions are worth, and where they are worst."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from volseg import console
from volseg.arguments import DATA
from volseg.data import volume_files
from volseg.data.dataset import FILE, Dataset
from volseg.data.preprocessing.intensity_scaling import Intensity, Percentiles
from volseg.errors import UserError
from volseg.evaluation import evaluate, score_files
from volseg.evaluation.scan_scores import ScanScores
from volseg.evaluation.summary import Scores
from volseg.formatting import natural_key
from volseg.inference import tables
from volseg.inference.prediction_folder import RECORD, Prediction, holds_scans, load_predictions
from volseg.report.page import render_report
from volseg.report.page.content import ReportContent, ReportScan
from volseg.report.page.slice_images import encode_scan
from volseg.report.run_info import find_prediction_runs, load_runs
from volseg.report.scan_images import load_scan_images
from volseg.runs import locate, run_files
from volseg.runs.folds import NAMES, OUT_OF_FOLD
from volseg.visualization import html_page

PAGE = Path("report.html")
LIMIT = 15_000_000
"""Bytes of the page: what can still be sent by mail."""
NO_MASKS = "There are no masks here: volseg infer makes them, and its folder can be reported too."
SPARE = 1000
"""Bytes by which what is told of pictures may vary with their number."""


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
    """What is reported: where its scores lie, its predictions, and the run that was named."""

    scores: Path
    predictions: Path | None
    run: Path | None = None

    def display_name(self, records: Sequence[Prediction]) -> str:
        """The run's, also where its masks were named; where several made these, the folder's."""
        made = dict.fromkeys(record.run for record in records)
        if self.run or len(made) != 1:
            return locate.run_label((self.run or self.predictions or self.scores).resolve())
        return next(iter(made))


def report(
    what: str, *, data: Path | None = None, out: Path = PAGE, scores: Path | None = None
) -> ReportOutcome:
    """Write the page of a run or of predictions; scores that are missing or out of date are made.

    `data` is by default data/prepared, if it holds any of the scans; `scores` the folder of scores.csv,
    by default where `volseg evaluate` leaves it.

    Raises:
        UserError: neither a run nor predictions, or masks that don't fit the dataset.
    """
    subject = find_source(what)
    subject = replace(subject, scores=scores) if scores else subject
    records = load_predictions(subject.predictions) if subject.predictions else []
    dataset, notes = _load_dataset(data, records)
    facts, more = _build_content(subject, records, dataset)
    shown = _with_pictures(replace(facts, notes=(*notes, *more)), dataset)
    text = render_report(shown)
    html_page.write_page(text, out, usual=PAGE)
    drawn = sum(bool(scan.picture) for scan in shown.scans)
    return ReportOutcome(out, len(text.encode()), drawn, len(shown.scans) - drawn, shown.notes)


def find_source(what: str) -> ReportSource:
    """What a name or path means: predictions, else a run and, where it has five folds, their predictions.

    Raises:
        UserError: neither.
    """
    folder = Path(what)
    if holds_scans(folder):
        return ReportSource(folder, folder)
    wanted = "name a folder that `volseg infer` or `volseg train` wrote"
    try:
        run = locate.find_run(what)
    except UserError as error:
        raise UserError(f"{error}; {wanted}") from error
    if not any((run / name).exists() for name in (run_files.CONFIG, NAMES[0])):
        raise UserError(f"{run}: holds neither <scan>/{RECORD} nor {run_files.CONFIG}; {wanted}")
    inner = run / OUT_OF_FOLD
    return ReportSource(run, inner if inner.is_dir() else None, run)


def _load_dataset(data: Path | None, records: Sequence[Prediction]) -> tuple[Dataset | None, list[str]]:
    """The dataset that holds the scans, and what to say where the usual one does not.

    Raises:
        UserError: one that was named and holds none of them.
    """
    if not records or (data is None and not (DATA / FILE).is_file()):
        return None, [f"{DATA} is no dataset, so there is no truth and no image."] if records else []
    dataset = Dataset.load(data or DATA)
    if {sample.name for sample in dataset.samples} & {record.scan for record in records}:
        return dataset, []
    told = f"{dataset.folder}: holds none of the predicted scans ({records[0].scan} ...)"
    if data is not None:
        raise UserError(f"{told}; name the dataset that they were predicted from")
    return None, [f"{told}, so there is no truth and no image."]


def _build_content(
    subject: ReportSource, records: Sequence[Prediction], dataset: Dataset | None
) -> tuple[ReportContent, list[str]]:
    """All but the pictures, and what is to be noted."""
    made, notes = (
        load_runs(subject.run)
        if subject.run
        else find_prediction_runs(records, subject.predictions or Path())
    )
    if subject.predictions is None:
        notes.append(NO_MASKS)
    done = [record for record in records if record.status == "done"]
    found = _current_scores(subject, done, dataset)
    by_scan = {one.scan: one for one in found.scans} if found else {}
    scans = [_report_scan(record, dataset, by_scan.get(record.scan)) for record in done]
    names = [*(dataset.classes if dataset else ()), *(name for one in done for name in one.classes)]
    facts = ReportContent(
        name=subject.display_name(records),
        source=str(subject.run or subject.predictions),
        dataset=dataset.facts.name if dataset else "",
        classes=tuple(dict.fromkeys(names)),
        trained=made,
        scans=tuple(sorted(scans, key=_worst_first_key)),
        scores=found,
        unscored={one.scan: why for one in done if dataset and (why := evaluate.why_unscored(one, dataset))},
        failed={record.scan: record.reason for record in records if record.status == "failed"},
    )
    return facts, notes


def _current_scores(
    subject: ReportSource, records: Sequence[Prediction], dataset: Dataset | None
) -> Scores | None:
    """The scores of these scans, found anew where they are not of the files that lie there."""
    known = score_files.read(subject.scores)
    if dataset is None:  # as they were left
        kept = tuple(known[one.scan] for one in records if one.scan in known)
        return Scores(kept) if kept else None
    if subject.predictions is None or all(evaluate.why_unscored(one, dataset) for one in records):
        return None
    found = evaluate.find_scorable_scans(subject.predictions, dataset.folder).compute_scores(known=known)
    if _score_keys(found.scans) != _score_keys(known.values()):
        score_files.write(found, subject.scores)
    return found


def _score_keys(scans: Iterable[ScanScores]) -> list[tuple[str, ...]]:
    """What scores are of: the same for scores that need not be written again."""
    return [(one.scan, one.seen, one.run, one.made_from) for one in scans]


def _report_scan(record: Prediction, dataset: Dataset | None, scores: ScanScores | None) -> ReportScan:
    sample = dataset.find_sample(record.scan) if dataset else None
    case, day = (sample.case, sample.day) if sample else (record.scan, None)
    if scores:
        volumes = {organ: values["volume_ml"] for organ, values in scores.values.items()}
    else:
        volumes = {name: _mask_volume_ml(record.mask_file(name)) for name in record.classes}
    return ReportScan(record, case, day, volumes, scores)


def _mask_volume_ml(mask: Path) -> float:
    found = volume_files.read(mask)
    return np.count_nonzero(found.voxels) * math.prod(found.spacing_mm) / 1000


def _worst_first_key(scan: ReportScan) -> tuple[bool, float, object]:
    """By Dice; without one by the lowest confidence, so that what is doubtful has a picture."""
    unknown = math.isnan(scan.dice)
    return (unknown, tables.lowest_confidence(scan.record) if unknown else scan.dice, natural_key(scan.name))


def _with_pictures(facts: ReportContent, dataset: Dataset | None) -> ReportContent:
    """The same, with pictures from the worst scan on as long as there is room."""
    marked = tuple(replace(scan, picture="[]") for scan in facts.scans)
    room = LIMIT - SPARE - len(render_report(replace(facts, scans=marked)).encode())
    drawn: list[ReportScan] = []
    with console.progress_bar("drawing") as told:
        for scan in facts.scans:
            shown = encode_scan(
                load_scan_images(scan.record, dataset, facts.classes), _display_intensity(facts)
            )
            room -= len(shown)
            if room < 0:
                break
            drawn.append(replace(scan, picture=shown))
            told(len(drawn), len(facts.scans), scan.name)
    return replace(facts, scans=(*drawn, *facts.scans[len(drawn) :]))


def _display_intensity(facts: ReportContent) -> Intensity:
    """What is black and what is white: as for the network, where it is known."""
    return facts.trained[0].run.config.data.intensity if facts.trained else Percentiles()
