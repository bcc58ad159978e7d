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
from volseg.formatting import natural
from volseg.inference import tables
from volseg.inference.prediction_folder import RECORD, Prediction, holds_scans, load
from volseg.report.page import report_page
from volseg.report.page.content import Facts, Scan
from volseg.report.page.slice_images import picture
from volseg.report.run_info import made_by, trained
from volseg.report.scan_images import sides
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
class Reported:
    """The page, its bytes, and how many scans it shows and only names."""

    path: Path
    size: int
    drawn: int
    named: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """What is reported: where its scores lie, its predictions, and the run that was named."""

    scores: Path
    predictions: Path | None
    run: Path | None = None

    def name(self, records: Sequence[Prediction]) -> str:
        """The run's, also where its masks were named; where several made these, the folder's."""
        made = dict.fromkeys(record.run for record in records)
        if self.run or len(made) != 1:
            return locate.label((self.run or self.predictions or self.scores).resolve())
        return next(iter(made))


def report(
    what: str, *, data: Path | None = None, out: Path = PAGE, scores: Path | None = None
) -> Reported:
    """Write the page of a run or of predictions; scores that are missing or out of date are made.

    `data` is by default data/prepared, if it holds any of the scans; `scores` the folder of scores.csv,
    by default where `volseg evaluate` leaves it.

    Raises:
        UserError: neither a run nor predictions, or masks that don't fit the dataset.
    """
    subject = find(what)
    subject = replace(subject, scores=scores) if scores else subject
    records = load(subject.predictions) if subject.predictions else []
    dataset, notes = _dataset(data, records)
    facts, more = _facts(subject, records, dataset)
    shown = _drawn(replace(facts, notes=(*notes, *more)), dataset)
    text = report_page(shown)
    html_page.write(text, out, usual=PAGE)
    drawn = sum(bool(scan.picture) for scan in shown.scans)
    return Reported(out, len(text.encode()), drawn, len(shown.scans) - drawn, shown.notes)


def find(what: str) -> Subject:
    """What a name or path means: predictions, else a run and, where it has five folds, their predictions.

    Raises:
        UserError: neither.
    """
    folder = Path(what)
    if holds_scans(folder):
        return Subject(folder, folder)
    wanted = "name a folder that `volseg infer` or `volseg train` wrote"
    try:
        run = locate.find(what)
    except UserError as error:
        raise UserError(f"{error}; {wanted}") from error
    if not any((run / name).exists() for name in (run_files.CONFIG, NAMES[0])):
        raise UserError(f"{run}: holds neither <scan>/{RECORD} nor {run_files.CONFIG}; {wanted}")
    inner = run / OUT_OF_FOLD
    return Subject(run, inner if inner.is_dir() else None, run)


def _dataset(data: Path | None, records: Sequence[Prediction]) -> tuple[Dataset | None, list[str]]:
    """The dataset that holds the scans, and what to say where the usual one does not.

    Raises:
        UserError: one that was named and holds none of them.
    """
    if not records or (data is None and not (DATA / FILE).is_file()):
        return None, [
            f"{DATA} is no dataset, so there is no truth and no image."
        ] if records else []
    dataset = Dataset.load(data or DATA)
    if {sample.name for sample in dataset.samples} & {record.scan for record in records}:
        return dataset, []
    told = f"{dataset.folder}: holds none of the predicted scans ({records[0].scan} ...)"
    if data is not None:
        raise UserError(f"{told}; name the dataset that they were predicted from")
    return None, [f"{told}, so there is no truth and no image."]


def _facts(
    subject: Subject, records: Sequence[Prediction], dataset: Dataset | None
) -> tuple[Facts, list[str]]:
    """All but the pictures, and what is to be noted."""
    made, notes = (
        trained(subject.run) if subject.run else made_by(records, subject.predictions or Path())
    )
    if subject.predictions is None:
        notes.append(NO_MASKS)
    done = [record for record in records if record.status == "done"]
    found = _scores(subject, done, dataset)
    by_scan = {one.scan: one for one in found.scans} if found else {}
    scans = [_scan(record, dataset, by_scan.get(record.scan)) for record in done]
    names = [*(dataset.classes if dataset else ()), *(name for one in done for name in one.classes)]
    facts = Facts(
        name=subject.name(records),
        source=str(subject.run or subject.predictions),
        dataset=dataset.facts.name if dataset else "",
        classes=tuple(dict.fromkeys(names)),
        trained=made,
        scans=tuple(sorted(scans, key=_worst_first)),
        scores=found,
        unscored={
            one.scan: why
            for one in done
            if dataset and (why := evaluate.why_unscored(one, dataset))
        },
        failed={record.scan: record.reason for record in records if record.status == "failed"},
    )
    return facts, notes


def _scores(
    subject: Subject, records: Sequence[Prediction], dataset: Dataset | None
) -> Scores | None:
    """The scores of these scans, found anew where they are not of the files that lie there."""
    known = score_files.read(subject.scores)
    if dataset is None:  # as they were left
        kept = tuple(known[one.scan] for one in records if one.scan in known)
        return Scores(kept) if kept else None
    if subject.predictions is None or all(evaluate.why_unscored(one, dataset) for one in records):
        return None
    found = evaluate.find(subject.predictions, dataset.folder).scores(known=known)
    if _told(found.scans) != _told(known.values()):
        score_files.write(found, subject.scores)
    return found


def _told(scans: Iterable[ScanScores]) -> list[tuple[str, ...]]:
    """What scores are of: the same for scores that need not be written again."""
    return [(one.scan, one.seen, one.run, one.made_from) for one in scans]


def _scan(record: Prediction, dataset: Dataset | None, scores: ScanScores | None) -> Scan:
    sample = dataset.find(record.scan) if dataset else None
    case, day = (sample.case, sample.day) if sample else (record.scan, None)
    if scores:
        volumes = {organ: values["volume_ml"] for organ, values in scores.values.items()}
    else:
        volumes = {name: _volume_ml(record.mask(name)) for name in record.classes}
    return Scan(record, case, day, volumes, scores)


def _volume_ml(mask: Path) -> float:
    found = volume_files.read(mask)
    return np.count_nonzero(found.voxels) * math.prod(found.spacing_mm) / 1000


def _worst_first(scan: Scan) -> tuple[bool, float, object]:
    """By Dice; without one by the lowest confidence, so that what is doubtful has a picture."""
    unknown = math.isnan(scan.dice)
    return unknown, tables.least(scan.record) if unknown else scan.dice, natural(scan.name)


def _drawn(facts: Facts, dataset: Dataset | None) -> Facts:
    """The same, with pictures from the worst scan on as long as there is room."""
    marked = tuple(replace(scan, picture="[]") for scan in facts.scans)
    room = LIMIT - SPARE - len(report_page(replace(facts, scans=marked)).encode())
    drawn: list[Scan] = []
    with console.progress("drawing") as told:
        for scan in facts.scans:
            shown = picture(sides(scan.record, dataset, facts.classes), _intensity(facts))
            room -= len(shown)
            if room < 0:
                break
            drawn.append(replace(scan, picture=shown))
            told(len(drawn), len(facts.scans), scan.name)
    return replace(facts, scans=(*drawn, *facts.scans[len(drawn) :]))


def _intensity(facts: Facts) -> Intensity:
    """What is black and what is white: as for the network, where it is known."""
    return facts.trained[0].run.config.data.intensity if facts.trained else Percentiles()
