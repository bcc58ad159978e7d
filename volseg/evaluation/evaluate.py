"""`volseg evaluate`: from predicted masks and truth to scores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from volseg import console
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.evaluation import score_files
from volseg.evaluation.scan_scores import ScanFilePair, ScanInfo, ScanScores, score_scan, source_hash
from volseg.evaluation.summary import Scores
from volseg.evaluation.tables import metric_tables, run_table, summary_table_by
from volseg.inference.prediction_folder import Prediction, load_predictions
from volseg.system import hardware, processes

__all__ = [
    "evaluate",
    "find_scorable_scans",
    "metric_tables",
    "run_table",
    "score_pairs",
    "summary_table_by",
    "why_unscored",
]

NOTHING: Mapping[str, ScanScores] = MappingProxyType({})


@dataclass(frozen=True)
class ScorableScans:
    """What a folder of predictions has: scans to score, and why others have no scores."""

    pairs: tuple[ScanFilePair, ...]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that made the masks."""
        return tuple(dict.fromkeys(pair.origin.run for pair in self.pairs))

    def compute_scores(
        self, *, known: Mapping[str, ScanScores] = NOTHING, workers: int | None = None
    ) -> Scores:
        """The scores of all of them, as `scored` finds them."""
        scans = score_pairs(self.pairs, known=known, workers=workers)
        return Scores(tuple(scans), self.skipped, self.failed, self.runs)


def evaluate(predictions: Path, data: Path, *, out: Path | None = None, workers: int | None = None) -> Scores:
    """Score every predicted scan that has truth; write scores.csv and summary.json to `out`.

    `out` is by default the predictions' folder. Scans that are excluded, have no truth or failed
    in inference are left out and named in the result. Several processes share the work.

    Raises:
        UserError: no or damaged predictions, other classes or grids than the dataset's, or no
            scan with truth; all problems at once.
    """
    scores = find_scorable_scans(predictions, data).compute_scores(workers=workers)
    score_files.write(scores, out or predictions)
    return scores


def find_scorable_scans(predictions: Path, data: Path) -> ScorableScans:
    """The predicted scans that have truth, before a voxel is read.

    Raises:
        UserError: as `evaluate` does, but for what is in the masks.
    """
    dataset = Dataset.load(data)
    found = load_predictions(predictions)
    failed = {one.scan: one.reason for one in found if one.status == "failed"}
    done = [one for one in found if one.status == "done"]
    skipped = {one.scan: why for one in done if (why := why_unscored(one, dataset))}
    kept = [one for one in done if one.scan not in skipped]
    problems = [problem for one in kept for problem in _scoring_problems(one, dataset)]
    if problems:
        raise UserError.from_problems(problems)
    if not kept:
        raise UserError.from_problems(_nothing_to_score(predictions, data, {**skipped, **failed}))
    return ScorableScans(tuple(_build_file_pair(one, dataset) for one in kept), skipped, failed)


def score_pairs(
    pairs: Sequence[ScanFilePair], *, known: Mapping[str, ScanScores] = NOTHING, workers: int | None = None
) -> list[ScanScores]:
    """Scores in the order of the pairs; those `known` are taken if they are of the same files.

    Raises:
        UserError: other grids than the dataset's, or damaged files; all of them.
    """
    held = {
        pair.origin.scan: pair.origin.with_scores(old.values, old.part)
        for pair in pairs
        if (old := known.get(pair.origin.scan)) and old.made_from == pair.origin.made_from
    }
    new = [pair for pair in pairs if pair.origin.scan not in held]
    held.update(
        (one.scan, score_files.as_read_back(one))
        for one in _score_in_parallel(new, workers or hardware.available_cores())
    )
    return [held[pair.origin.scan] for pair in pairs]


def why_unscored(prediction: Prediction, dataset: Dataset) -> str:
    """Why a scan can't be or isn't scored, or ''."""
    sample = dataset.find_sample(prediction.scan)
    if sample is None:
        return f"not in {dataset.folder}"
    if sample.labels is None:
        return "has no labels"
    return "excluded: its labels are known to be bad" if sample.excluded else ""


def _scoring_problems(prediction: Prediction, dataset: Dataset) -> Iterator[str]:
    """What stops a finished scan from being scored."""
    if set(prediction.classes) != set(dataset.classes):
        yield (
            f"{prediction.folder}: has the classes {', '.join(prediction.classes)}; "
            f"{dataset.folder} has {', '.join(dataset.classes)}; pass --data of the dataset it is of"
        )
    elif prediction.missing_classes:
        missing = ", ".join(f"{name}.nii.gz" for name in prediction.missing_classes)
        yield f"{prediction.folder}: {missing} missing; run `volseg infer` again"


def _nothing_to_score(predictions: Path, data: Path, reasons: Mapping[str, str]) -> Iterator[str]:
    yield f"{predictions}: no scan can be scored against {data}; predict labelled scans"
    yield from (f"{scan}: {why}" for scan, why in reasons.items())


def _build_file_pair(prediction: Prediction, dataset: Dataset) -> ScanFilePair:
    sample = dataset.select_samples(prediction.scan)[0]
    labels = sample.labels or {}
    truth = {name: dataset.folder / labels[name] for name in dataset.classes}
    masks = {name: prediction.mask_file(name) for name in dataset.classes}
    days = sorted(one.day for one in dataset.samples if one.case == sample.case)
    origin = ScanInfo(
        scan=sample.name,
        case=sample.case,
        seen=prediction.seen,
        run=prediction.run,
        day=days.index(sample.day) + 1,
        matrix="x".join(map(str, sample.shape[:2])),
        prediction_folder=str(prediction.folder),
        labels_folder=str(next(iter(truth.values())).parent),
        made_from=source_hash(truth, masks, sample.spacing_mm),
    )
    return ScanFilePair(origin, truth, masks, sample.spacing_mm)


def _score_in_parallel(pairs: Sequence[ScanFilePair], workers: int) -> list[ScanScores]:
    """Scores in the order of the pairs, or one error with the problems of all scans."""
    outcomes: dict[int, ScanScores | str] = {}
    work = processes.map_unordered(score_scan, pairs, workers=workers, died=_worker_died_message)
    with console.progress_bar("evaluating") as report, closing(work):
        for position, outcome in work:
            outcomes[position] = outcome
            report(len(outcomes), len(pairs), pairs[position].origin.scan)
    in_order = [outcomes[position] for position in range(len(pairs))]
    problems = [outcome for outcome in in_order if isinstance(outcome, str)]
    if problems:
        raise UserError.from_problems(problems)
    return [outcome for outcome in in_order if isinstance(outcome, ScanScores)]


def _worker_died_message(pair: ScanFilePair) -> str:
    return f"{pair.origin.scan}: the process that scored it was killed (out of memory?)"
