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
from volseg.evaluation.scan_scores import Origin, Pair, ScanScores, made_from, score
from volseg.evaluation.summary import Scores
from volseg.evaluation.tables import run_table, table, table_by
from volseg.inference.prediction_folder import Prediction, load
from volseg.system import hardware, processes

__all__ = ["evaluate", "find", "run_table", "scored", "table", "table_by", "why_unscored"]

NOTHING: Mapping[str, ScanScores] = MappingProxyType({})


@dataclass(frozen=True)
class Found:
    """What a folder of predictions has: scans to score, and why others have no scores."""

    pairs: tuple[Pair, ...]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that made the masks."""
        return tuple(dict.fromkeys(pair.origin.run for pair in self.pairs))

    def scores(
        self, *, known: Mapping[str, ScanScores] = NOTHING, workers: int | None = None
    ) -> Scores:
        """The scores of all of them, as `scored` finds them."""
        scans = scored(self.pairs, known=known, workers=workers)
        return Scores(tuple(scans), self.skipped, self.failed, self.runs)


def evaluate(
    predictions: Path, data: Path, *, out: Path | None = None, workers: int | None = None
) -> Scores:
    """Score every predicted scan that has truth; write scores.csv and summary.json to `out`.

    `out` is by default the predictions' folder. Scans that are excluded, have no truth or failed
    in inference are left out and named in the result. Several processes share the work.

    Raises:
        UserError: no or damaged predictions, other classes or grids than the dataset's, or no
            scan with truth; all problems at once.
    """
    scores = find(predictions, data).scores(workers=workers)
    score_files.write(scores, out or predictions)
    return scores


def find(predictions: Path, data: Path) -> Found:
    """The predicted scans that have truth, before a voxel is read.

    Raises:
        UserError: as `evaluate` does, but for what is in the masks.
    """
    dataset = Dataset.load(data)
    found = load(predictions)
    failed = {one.scan: one.reason for one in found if one.status == "failed"}
    done = [one for one in found if one.status == "done"]
    skipped = {one.scan: why for one in done if (why := why_unscored(one, dataset))}
    kept = [one for one in done if one.scan not in skipped]
    problems = [problem for one in kept for problem in _problems(one, dataset)]
    if problems:
        raise UserError.of(problems)
    if not kept:
        raise UserError.of(_nothing(predictions, data, {**skipped, **failed}))
    return Found(tuple(_pair(one, dataset) for one in kept), skipped, failed)


def scored(
    pairs: Sequence[Pair],
    *,
    known: Mapping[str, ScanScores] = NOTHING,
    workers: int | None = None,
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
        (one.scan, score_files.as_read(one)) for one in _score(new, workers or hardware.cores())
    )
    return [held[pair.origin.scan] for pair in pairs]


def why_unscored(prediction: Prediction, dataset: Dataset) -> str:
    """Why a scan can't be or isn't scored, or ''."""
    sample = dataset.find(prediction.scan)
    if sample is None:
        return f"not in {dataset.folder}"
    if sample.labels is None:
        return "has no labels"
    return "excluded: its labels are known to be bad" if sample.excluded else ""


def _problems(prediction: Prediction, dataset: Dataset) -> Iterator[str]:
    """What stops a finished scan from being scored."""
    if set(prediction.classes) != set(dataset.classes):
        yield (
            f"{prediction.folder}: has the classes {', '.join(prediction.classes)}; "
            f"{dataset.folder} has {', '.join(dataset.classes)}; pass --data of the dataset it is of"
        )
    elif prediction.missing:
        missing = ", ".join(f"{name}.nii.gz" for name in prediction.missing)
        yield f"{prediction.folder}: {missing} missing; run `volseg infer` again"


def _nothing(predictions: Path, data: Path, reasons: Mapping[str, str]) -> Iterator[str]:
    yield f"{predictions}: no scan can be scored against {data}; predict labelled scans"
    yield from (f"{scan}: {why}" for scan, why in reasons.items())


def _pair(prediction: Prediction, dataset: Dataset) -> Pair:
    sample = dataset.of(prediction.scan)[0]
    labels = sample.labels or {}
    truth = {name: dataset.folder / labels[name] for name in dataset.classes}
    masks = {name: prediction.mask(name) for name in dataset.classes}
    days = sorted(one.day for one in dataset.samples if one.case == sample.case)
    origin = Origin(
        scan=sample.name,
        case=sample.case,
        seen=prediction.seen,
        run=prediction.run,
        day=days.index(sample.day) + 1,
        matrix="x".join(map(str, sample.shape[:2])),
        prediction=str(prediction.folder),
        reference=str(next(iter(truth.values())).parent),
        made_from=made_from(truth, masks, sample.spacing_mm),
    )
    return Pair(origin, truth, masks, sample.spacing_mm)


def _score(pairs: Sequence[Pair], workers: int) -> list[ScanScores]:
    """Scores in the order of the pairs, or one error with the problems of all scans."""
    outcomes: dict[int, ScanScores | str] = {}
    work = processes.each(score, pairs, workers=workers, died=_died)
    with console.progress("evaluating") as report, closing(work):
        for position, outcome in work:
            outcomes[position] = outcome
            report(len(outcomes), len(pairs), pairs[position].origin.scan)
    in_order = [outcomes[position] for position in range(len(pairs))]
    problems = [outcome for outcome in in_order if isinstance(outcome, str)]
    if problems:
        raise UserError.of(problems)
    return [outcome for outcome in in_order if isinstance(outcome, ScanScores)]


def _died(pair: Pair) -> str:
    return f"{pair.origin.scan}: the process that scored it was killed (out of memory?)"
