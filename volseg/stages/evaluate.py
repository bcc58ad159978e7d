"""`volseg evaluate`: from predicted masks and truth to scores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg import console, machine, parallel
from volseg.data import volume
from volseg.data.dataset import Dataset, Sample
from volseg.errors import UserError
from volseg.masks import kaggle
from volseg.masks.comparison import Comparison
from volseg.masks.metrics import HD95, Dice, measure
from volseg.stages import scores as scored
from volseg.stages.predictions import Prediction, load
from volseg.stages.scores import ScanScores, Scores, Seen, run_table, table

__all__ = ["evaluate", "run_table", "table"]

WITHIN_LABELS = (Dice(), HD95())


@dataclass(frozen=True)
class Pair:
    """A scan to score: the files of its truth and prediction by class."""

    scan: str
    seen: Seen
    truth: Mapping[str, Path]
    prediction: Mapping[str, Path]
    spacing_mm: tuple[float, float, float]
    run: str = ""


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
    dataset = Dataset.load(data)
    found = load(predictions)
    failed = {one.scan: one.reason for one in found if one.status == "failed"}
    done = [one for one in found if one.status == "done"]
    skipped = {one.scan: why for one in done if (why := _why_skipped(one, dataset))}
    kept = [one for one in done if one.scan not in skipped]
    problems = [problem for one in kept for problem in _problems(one, dataset)]
    if problems:
        raise UserError.of(problems)
    if not kept:
        raise UserError.of(_nothing(predictions, data, {**skipped, **failed}))
    pairs = [_pair(one, dataset) for one in kept]
    runs = tuple(dict.fromkeys(one.run for one in kept))
    scores = Scores(tuple(_score(pairs, workers or machine.cores())), skipped, failed, runs)
    scored.write(scores, out or predictions)
    return scores


def _why_skipped(prediction: Prediction, dataset: Dataset) -> str:
    """Why a scan can't be or isn't scored, or ''."""
    sample = _sample(prediction.scan, dataset)
    if sample is None:
        return f"not in {dataset.folder}"
    if sample.labels is None:
        return "has no labels"
    return "excluded: its labels are known to be bad" if sample.excluded else ""


def _sample(scan: str, dataset: Dataset) -> Sample | None:
    return next((sample for sample in dataset.samples if sample.name == scan), None)


def _problems(prediction: Prediction, dataset: Dataset) -> Iterator[str]:
    """What stops a finished scan from being scored."""
    if set(prediction.classes) != set(dataset.classes):
        yield (
            f"{prediction.folder}: has the classes {', '.join(prediction.classes)}; "
            f"{dataset.folder} has {', '.join(dataset.classes)}"
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
    return Pair(
        prediction.scan,
        prediction.seen,
        {name: dataset.folder / labels[name] for name in dataset.classes},
        {name: prediction.mask(name) for name in dataset.classes},
        sample.spacing_mm,
        prediction.run,
    )


def _score(pairs: Sequence[Pair], workers: int) -> list[ScanScores]:
    """Scores in the order of the pairs, or one error with the problems of all scans."""
    outcomes: dict[int, ScanScores | str] = {}
    work = parallel.each(score, pairs, workers=workers, died=_died)
    with console.progress("evaluating") as report, closing(work):
        for position, outcome in work:
            outcomes[position] = outcome
            report(len(outcomes), len(pairs), pairs[position].scan)
    in_order = [outcomes[position] for position in range(len(pairs))]
    problems = [outcome for outcome in in_order if isinstance(outcome, str)]
    if problems:
        raise UserError.of(problems)
    return [outcome for outcome in in_order if isinstance(outcome, ScanScores)]


def _died(pair: Pair) -> str:
    return f"{pair.scan}: the process that scored it was killed (out of memory?)"


def score(pair: Pair) -> ScanScores | str:
    """The scores of one scan, or what is wrong with its files, one problem a line."""
    comparisons: dict[str, Comparison] = {}
    problems = []
    for name in pair.truth:
        try:
            comparisons[name] = _compare(pair.truth[name], pair.prediction[name], pair.spacing_mm)
        except UserError as error:
            problems.append(str(error))
    if problems:
        return "\n".join(problems)
    ranged = _labelled(comparisons)
    values = {
        name: {**measure(comparison), **_named(ranged.get(name))}
        for name, comparison in comparisons.items()
    }
    return ScanScores(
        pair.scan,
        pair.seen,
        values,
        kaggle.part(comparisons),
        str(next(iter(pair.prediction.values())).parent),
        str(next(iter(pair.truth.values())).parent),
        pair.run,
    )


def _compare(
    truth_file: Path, prediction_file: Path, spacing_mm: tuple[float, float, float]
) -> Comparison:
    truth, prediction = volume.read(truth_file), volume.read(prediction_file)
    if truth.voxels.shape != prediction.voxels.shape:
        raise UserError(
            f"{prediction_file}: its shape is {prediction.voxels.shape}; "
            f"{truth_file} has {truth.voxels.shape}"
        )
    if not truth.same_grid(prediction):
        raise UserError(
            f"{prediction_file}: lies elsewhere than {truth_file} (another affine); predict it again"
        )
    for file, voxels in ((truth_file, truth.voxels), (prediction_file, prediction.voxels)):
        if not ((voxels == 0) | (voxels == 1)).all():
            raise UserError(f"{file}: holds values other than 0 and 1; expected a mask")
    return Comparison(truth.voxels.astype(bool), prediction.voxels.astype(bool), spacing_mm)


def _labelled(comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """The same within the slices from the first to the last with a label of any class; {} for none.

    Labels stop at a cut although the organs go on: what is predicted beyond it can't be judged.
    """
    labelled = [one.truth.any(axis=(0, 1)) for one in comparisons.values()]
    slices = np.flatnonzero(np.logical_or.reduce(labelled))
    if not slices.size:
        return {}
    first, last = int(slices[0]), int(slices[-1]) + 1
    return {name: _within(one, first, last) for name, one in comparisons.items()}


def _within(comparison: Comparison, first: int, last: int) -> Comparison:
    """The slices first to last - 1; the same comparison where nothing lies outside them."""
    box = comparison.box[2]
    if first <= box.start and box.stop <= last:
        return comparison
    return Comparison(
        comparison.truth[:, :, first:last],
        comparison.prediction[:, :, first:last],
        comparison.spacing_mm,
    )


def _named(comparison: Comparison | None) -> dict[str, float]:
    """The metrics within the labelled slices; NaN where a scan has none."""
    return {
        f"{metric.label}{scored.LABELLED}": metric(comparison) if comparison else float("nan")
        for metric in WITHIN_LABELS
    }
