"""`volseg evaluate`: scores of predicted masks against the labels of a dataset."""

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
from volseg.inference.prediction_folder import Prediction, load_predictions
from volseg.system import hardware, processes

NO_SCORES: Mapping[str, ScanScores] = MappingProxyType({})


@dataclass(frozen=True)
class ScorableScans:
    """The scans of a folder of predictions that can be scored, and for the others the reason why not."""

    pairs: tuple[ScanFilePair, ...]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that predicted the masks."""
        return tuple(dict.fromkeys(pair.origin.run for pair in self.pairs))

    def compute_scores(
        self, *, known: Mapping[str, ScanScores] = NO_SCORES, workers: int | None = None
    ) -> Scores:
        """The scores of all of them, as `score_pairs` computes them."""
        scans = score_pairs(self.pairs, known=known, workers=workers)
        return Scores(tuple(scans), self.skipped, self.failed, self.runs)


def evaluate(predictions: Path, data: Path, *, out: Path | None = None, workers: int | None = None) -> Scores:
    """Score every predicted scan that has labels; write scores.csv and summary.json to `out`.

    `out` is by default the predictions' folder. Scans that are excluded, have no labels or failed
    in inference are left out and named in the result. Several processes share the work.

    Raises:
        UserError: no or damaged predictions, other classes or grids than the dataset's, or no
            scan with labels; all problems at once.
    """
    scores = find_scorable_scans(predictions, data).compute_scores(workers=workers)
    score_files.write(scores, out or predictions)
    return scores


def find_scorable_scans(predictions: Path, data: Path) -> ScorableScans:
    """The predicted scans that have labels, before a voxel is read.

    Raises:
        UserError: as `evaluate` does, but for problems within the masks.
    """
    dataset = Dataset.load(data)
    scans = load_predictions(predictions)
    failed = {scan.scan: scan.reason for scan in scans if scan.status == "failed"}
    done = [scan for scan in scans if scan.status == "done"]
    skipped = {scan.scan: why for scan in done if (why := why_unscored(scan, dataset))}
    scorable = [scan for scan in done if scan.scan not in skipped]
    problems = [problem for scan in scorable for problem in _scoring_problems(scan, dataset)]
    if not scorable:
        problems = [
            f"{predictions}: no scan can be scored against {data}; predict labelled scans",
            *(f"{scan}: {why}" for scan, why in {**skipped, **failed}.items()),
        ]
    if problems:
        raise UserError.from_problems(problems)
    return ScorableScans(tuple(_build_file_pair(scan, dataset) for scan in scorable), skipped, failed)


def score_pairs(
    pairs: Sequence[ScanFilePair], *, known: Mapping[str, ScanScores] = NO_SCORES, workers: int | None = None
) -> list[ScanScores]:
    """Scores in the order of the pairs; `known` ones are taken if they are of the same files.

    Raises:
        UserError: other grids than the dataset's, or damaged files; all of them.
    """
    scores = {
        pair.origin.scan: pair.origin.with_scores(old.values, old.part)
        for pair in pairs
        if (old := known.get(pair.origin.scan)) and old.made_from == pair.origin.made_from
    }
    new = [pair for pair in pairs if pair.origin.scan not in scores]
    scores.update(
        (scan.scan, score_files.as_read_back(scan))
        for scan in _score_in_parallel(new, workers or hardware.available_cores())
    )
    return [scores[pair.origin.scan] for pair in pairs]


def why_unscored(prediction: Prediction, dataset: Dataset) -> str:
    """The reason why a scan can't be or isn't scored, or ''."""
    sample = dataset.find_sample(prediction.scan)
    if sample is None:
        return f"not in {dataset.folder}"
    if sample.labels is None:
        return "has no labels"
    return "excluded: its labels are known to be bad" if sample.excluded else ""


def _scoring_problems(prediction: Prediction, dataset: Dataset) -> Iterator[str]:
    """The problems of a finished scan that stop it from being scored."""
    if set(prediction.classes) != set(dataset.classes):
        yield (
            f"{prediction.folder}: has the classes {', '.join(prediction.classes)}; "
            f"{dataset.folder} has {', '.join(dataset.classes)}; pass --data of the dataset it is of"
        )
    elif prediction.missing_classes:
        missing = ", ".join(f"{name}.nii.gz" for name in prediction.missing_classes)
        yield f"{prediction.folder}: {missing} missing; run `volseg infer` again"


def _build_file_pair(prediction: Prediction, dataset: Dataset) -> ScanFilePair:
    sample = dataset.select_samples(prediction.scan)[0]
    files = sample.labels or {}
    labels = {name: dataset.folder / files[name] for name in dataset.classes}
    masks = {name: prediction.mask_file(name) for name in dataset.classes}
    days = sorted(other.day for other in dataset.samples if other.case == sample.case)
    origin = ScanInfo(
        scan=sample.name,
        case=sample.case,
        seen=prediction.seen,
        run=prediction.run,
        day=days.index(sample.day) + 1,
        matrix="x".join(map(str, sample.shape[:2])),
        prediction_folder=str(prediction.folder),
        labels_folder=str(next(iter(labels.values())).parent),
        made_from=source_hash(labels, masks, sample.spacing_mm),
    )
    return ScanFilePair(origin, labels, masks, sample.spacing_mm)


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
