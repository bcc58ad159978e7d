"""`volseg evaluate`: scores of predicted masks against the labels of a dataset."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.arguments import CohortArguments, MaskOptions
from volseg.cohort.run import run
from volseg.data.dataset import Dataset
from volseg.data.mask_files import MaskFile, read_grid
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.errors import UserError
from volseg.evaluation import score_files
from volseg.evaluation.evaluate_work import EvaluateWork, folders_of
from volseg.evaluation.scan_scores import ScanFilePair, ScanInfo, ScanScores
from volseg.evaluation.summary import Scores
from volseg.formatting import format_size, join_names, natural_key
from volseg.inference.corrections import missing_masks_problem
from volseg.inference.mask_folder import UNKNOWN, load_masks
from volseg.inference.prediction_folder import Prediction
from volseg.runs.run_files import VALIDATION
from volseg.system import hardware

Known = Mapping[str, ScanScores] | None
"""Stored scores by scan."""


@dataclass(frozen=True)
class ScorableScans:
    """The scans of a folder of predictions that can be scored, and for the others the reason why not."""

    pairs: tuple[ScanFilePair, ...]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that predicted the masks."""
        return tuple(dict.fromkeys(pair.origin.run for pair in self.pairs))

    def compute_scores(
        self, *, known: Known = None, workers: int | None = None, cohort: CohortArguments = CohortArguments()
    ) -> Scores:
        """The scores of all of them, as `score_pairs` computes them."""
        scans = score_pairs(self.pairs, known=known, workers=workers, cohort=cohort)
        notes = (*self.notes, *(note for scan in scans for note in scan.notes))
        return Scores(tuple(scans), self.skipped, self.failed, self.runs, notes)


def evaluate(
    predictions: Path,
    data: Path,
    *,
    out: Path | None = None,
    workers: int | None = None,
    options: MaskOptions = MaskOptions(),
    cohort: CohortArguments = CohortArguments(),
) -> Scores:
    """Score every scan with masks and labels; write scores.csv and summary.json to `out`.

    `out` is by default the folder of the masks. Scans that are excluded, have no labels or failed
    in inference are left out and named in the result. Several processes share the work.

    Raises:
        UserError: no or damaged masks, other classes or grids than the dataset's, no scan with
            labels, or files of other programs in the way; all problems at once.
    """
    scans = find_scorable_scans(predictions, data, options)
    if foreign := score_files.foreign_files(out or predictions):
        raise UserError(f"{foreign[0]}: `volseg evaluate` did not write it; pass --out of another folder")
    scores = scans.compute_scores(workers=workers, cohort=cohort)
    score_files.write(scores, out or predictions)
    return scores


def find_scorable_scans(predictions: Path, data: Path, options: MaskOptions = MaskOptions()) -> ScorableScans:
    """The scans with masks and labels, before a voxel is read; raises what `evaluate` does."""
    dataset = Dataset.load(data)
    scans, notes = load_masks(predictions, dataset)
    failed = {scan.scan: scan.reason for scan in scans if scan.status == "failed"}
    done = [scan for scan in scans if scan.status == "done"]
    skipped = {scan.scan: why for scan in done if (why := why_unscored(scan, dataset))}
    scorable = [scan for scan in done if scan.scan not in skipped]
    problems = [problem for scan in scorable if (problem := _scoring_problem(scan, dataset))]
    if not scorable:
        problems = [
            f"{predictions}: no scan can be scored against {data}; labelled scans with masks are needed",
            *(f"{scan}: {why}" for scan, why in {**skipped, **failed}.items()),
        ]
    if problems:
        raise UserError.from_problems(problems)
    pairs = tuple(_build_file_pair(scan, dataset, options) for scan in scorable)
    unknown = dict.fromkeys(name for scan in scorable for name in scan.unknown_weights)
    if unknown:
        notes = (*notes, f"unknown which scans the weights began with saw: {join_names(list(unknown))}")
    return ScorableScans(pairs, skipped, failed, (*notes, *_unmasked_notes(predictions, scans, dataset)))


def score_pairs(
    pairs: Sequence[ScanFilePair],
    *,
    known: Known = None,
    workers: int | None = None,
    cohort: CohortArguments = CohortArguments(),
) -> list[ScanScores]:
    """Scores in the order of the pairs; `known` ones are taken if they are of the same files."""
    scores = {
        pair.origin.scan: pair.origin.with_scores(old.values, old.part, old.notes)
        for pair in pairs
        if (old := (known or {}).get(pair.origin.scan)) and old.made_from == pair.origin.made_from
    }
    new = [pair for pair in pairs if pair.origin.scan not in scores]
    work = EvaluateWork(workers or hardware.available_cores(), folders_of(new))
    computed = _score_in_parallel(work, new, cohort)
    scores.update((scan.scan, score_files.as_read_back(scan)) for scan in computed)
    return [scores[pair.origin.scan] for pair in pairs]


def why_unscored(prediction: Prediction, dataset: Dataset) -> str:
    """The reason why a scan can't be or isn't scored, or ''."""
    sample = dataset.find_sample(prediction.identity)
    if sample is None:
        return f"not in {dataset.folder}"
    if sample.labels is None:
        return "has no labels"
    return "excluded: its labels are known to be bad" if sample.excluded else ""


def _scoring_problem(prediction: Prediction, dataset: Dataset) -> str:
    """The problem of a finished scan that stops it from being scored, or ''."""
    if set(prediction.classes) != set(dataset.classes):
        return (
            f"{prediction.folder}: has the classes {', '.join(prediction.classes)}; "
            f"{dataset.folder} has {', '.join(dataset.classes)}; pass --data of the dataset it is of"
        )
    return missing_masks_problem(prediction)


def _unmasked_notes(folder: Path, scans: Sequence[Prediction], dataset: Dataset) -> Iterator[str]:
    """A line on labelled scans that another tool made no masks of; volseg's were asked for scan by scan."""
    if not all(scan.masks for scan in scans):
        return
    labelled = [one.name for one in dataset.samples if one.labels is not None and not one.excluded]
    lacking = sorted({*labelled} - {scan.scan for scan in scans}, key=natural_key)
    if lacking:
        yield (
            f"{folder}: no masks of {len(lacking)} of {len(labelled)} labelled scans, which no mean counts: "
            f"{join_names(lacking)}"
        )


def _build_file_pair(prediction: Prediction, dataset: Dataset, options: MaskOptions) -> ScanFilePair:
    sample = dataset.find_sample(prediction.identity)
    if sample is None:
        raise AssertionError("a scan to be scored that the dataset lacks")
    files = sample.labels or {}
    labels = {name: MaskFile(dataset.folder / files[name]) for name in dataset.classes}
    masks = {name: prediction.mask_file(name) for name in dataset.classes}
    grid = NetworkGrid.from_volume(read_grid(dataset.grid_file(sample)), None)
    days = sorted(other.day for other in dataset.samples if other.case == sample.case)
    origin = ScanInfo(
        scan=prediction.scan,
        case=sample.case,
        seen=prediction.seen,
        chose_weights=prediction.chose_weights or prediction.fold_set in VALIDATION,  # of earlier versions
        run=prediction.run or UNKNOWN,
        day=days.index(sample.day) + 1,
        matrix=format_size([n for axis, n in enumerate(sample.shape) if axis != grid.slice_axis]),
        prediction_folder=str(prediction.folder),
        labels_folder=str(next(iter(labels.values())).path.parent),
        competition=dataset.facts.is_competition,
    )
    pair = ScanFilePair(origin, labels, masks, dataset.grid_file(sample), sample.spacing_mm, options)
    return replace(pair, origin=replace(origin, made_from=pair.source_hash))


def _score_in_parallel(
    work: EvaluateWork, pairs: Sequence[ScanFilePair], cohort: CohortArguments
) -> list[ScanScores]:
    """Scores in the order of the pairs, or one error with the problems of all scans."""
    outcomes: dict[int, ScanScores | str] = dict(run(work, pairs, cohort))
    in_order = [outcomes[position] for position in range(len(pairs))]
    problems = [outcome for outcome in in_order if isinstance(outcome, str)]
    if problems:
        raise UserError.from_problems(problems)
    return [outcome for outcome in in_order if isinstance(outcome, ScanScores)]
