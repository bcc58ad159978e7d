"""`volseg compare`: which of two predictions is better, by how much, and whether that can be told."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from volseg.errors import UserError
from volseg.evaluation import score_files
from volseg.evaluation.comparison.criterion import Criterion, Pairs, find_criterion
from volseg.evaluation.comparison.differences import (
    DifferenceRow,
    ScanDifference,
    difference_row,
    group_by_training_exposure,
    scan_differences,
)
from volseg.evaluation.evaluate import ScorableScans, find_scorable_scans, score_pairs
from volseg.evaluation.scan_scores import ScanFilePair, ScanScores
from volseg.formatting import join_names
from volseg.inference.prediction_folder import holds_scans
from volseg.runs.run_files import CONFIG


@dataclass(frozen=True)
class ComparedPredictions:
    """One of the two: the folder as the user called it, what it has, and the scores that lay there."""

    name: str
    found: ScorableScans
    known: Mapping[str, ScanScores]

    @cached_property
    def pairs(self) -> dict[str, ScanFilePair]:
        """The scans that can be scored, by name."""
        return {pair.origin.scan: pair for pair in self.found.pairs}

    def outdated_scans(self, scans: Sequence[str]) -> list[str]:
        """Those whose scores are not known, or are of other masks or labels."""
        made_from = {name: one.made_from for name, one in self.known.items()}
        return [name for name in scans if made_from.get(name) != self.pairs[name].origin.made_from]

    def scores(self, scans: Sequence[str]) -> list[ScanScores]:
        """Their scores, known or found."""
        return score_pairs([self.pairs[name] for name in scans], known=self.known)


@dataclass(frozen=True)
class ComparisonResult:
    """The differences of B from A; `by_scan` runs from the best for A to the best for B."""

    a: ComparedPredictions
    b: ComparedPredictions
    criterion: Criterion
    scans: tuple[str, ...]
    overall: DifferenceRow
    classes: tuple[DifferenceRow, ...]
    groups: tuple[DifferenceRow, ...]
    by_scan: tuple[ScanDifference, ...]
    notes: tuple[str, ...]


def compare(a: Path, b: Path, data: Path, *, metric: str = "Dice", common: bool = False) -> ComparisonResult:
    """Compare two folders of predictions, or of their scores, on the scans of both; write nothing.

    Scores that `evaluate` left are taken where they are of the masks and labels that lie there; the
    others are found anew. Scans that one side was trained on and the other not are left out.

    Raises:
        UserError: what `evaluate` refuses in either; scans that only one side has, unless `common`;
            an unknown metric; nothing to compare.
    """
    by = find_criterion(metric)
    if a.resolve() == b.resolve():
        raise UserError(f"{a}, {b}: the same folder; name the predictions of two runs or settings")
    one, other = _load_both_predictions(a, b, data)
    lacking = list(_scans_of_one_side(one, other))
    if lacking and not common:
        raise UserError.from_problems(
            f"{what}: {', '.join(scans)}; predict them, or pass --common" for what, scans in lacking
        )
    left_out = [f"{what}: {join_names(scans)}" for what, scans in lacking]
    fair, told = _comparable_scans(one, other)
    if not fair:
        raise UserError.from_problems([f"{a}, {b}: no scan to compare fairly", *left_out, *told])
    unscored = {**one.found.skipped, **other.found.skipped}
    notes = (
        *_rescoring_notes(one, fair),
        *_rescoring_notes(other, fair),
        *_unscored_notes(unscored),
        *left_out,
        *told,
    )
    pairs = list(zip(one.scores(fair), other.scores(fair), strict=True))
    return _build_result(one, other, by, pairs, notes)


def _build_result(
    one: ComparedPredictions, other: ComparedPredictions, by: Criterion, pairs: Pairs, notes: tuple[str, ...]
) -> ComparisonResult:
    organs = list(pairs[0][0].values)
    overall = difference_row("all classes", pairs, organs, by)
    if not overall.difference.cases:
        raise UserError(
            f"{one.name}, {other.name}: no scan whose {by.name} both can be given; try --metric Dice"
        )
    return ComparisonResult(
        one,
        other,
        by,
        tuple(scan.scan for scan, _ in pairs),
        overall,
        tuple(difference_row(organ, pairs, [organ], by) for organ in organs),
        tuple(
            difference_row(name, some, organs, by) for name, some in group_by_training_exposure(pairs).items()
        ),
        tuple(scan_differences(pairs, organs, by)),
        notes,
    )


def _load_both_predictions(a: Path, b: Path, data: Path) -> tuple[ComparedPredictions, ComparedPredictions]:
    """Both sides, or one error with what is wrong with either."""
    made, problems = [], []
    for folder in (a, b):
        try:
            made.append(_load_predictions(folder, data))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError.from_problems(dict.fromkeys(problems))
    return made[0], made[1]


def _load_predictions(folder: Path, data: Path) -> ComparedPredictions:
    known = score_files.read(folder)
    return ComparedPredictions(
        str(folder), find_scorable_scans(_find_prediction_folder(folder, list(known.values())), data), known
    )


def _rescoring_notes(side: ComparedPredictions, scans: Sequence[str]) -> Iterator[str]:
    """A line where scores are missing or out of date."""
    anew = side.outdated_scans(scans)
    if anew and side.known:
        yield f"{side.name}: its scores are out of date; scored anew: {join_names(anew)}"
    elif anew:
        yield f"{side.name}: has no scores; `volseg evaluate {side.name}` keeps them for next time"


def _find_prediction_folder(folder: Path, known: Sequence[ScanScores]) -> Path:
    """The folder of predictions: this one, or the one whose scores lie here."""
    if folder.is_file():
        raise UserError(f"{folder}: a file; name the folder that it lies in: {folder.parent}")
    if holds_scans(folder):
        return folder
    if not known:
        if (folder / CONFIG).is_file():
            raise UserError(
                f"{folder}: a run, not predictions; make some: `volseg infer --run {folder} --out ...`"
            )
        return folder  # which has nothing; `load` says what it should have
    masks = {Path(one.prediction_folder).parent for one in known}
    if len(masks) > 1 or not holds_scans(min(masks)):
        raise UserError(
            f"{folder}: its scores are of the masks in {', '.join(map(str, sorted(masks)))}, which are "
            "not there; name the folder of the predictions"
        )
    return masks.pop()


def _scans_of_one_side(
    one: ComparedPredictions, other: ComparedPredictions
) -> Iterator[tuple[str, list[str]]]:
    """For each side that lacks scans of the other a line that says so, and the scans."""
    for lacking, having in ((one, other), (other, one)):
        failed = lacking.found.failed
        told = [
            f"{name} (failed: {failed[name]})" if name in failed else name
            for name in having.pairs
            if name not in lacking.pairs
        ]
        if told:
            yield f"{lacking.name}: lacks scans that {having.name} has", told


def _comparable_scans(one: ComparedPredictions, other: ComparedPredictions) -> tuple[list[str], list[str]]:
    """The scans of both that tell of new scans, and what is to be said of the others.

    Those that neither side was trained on; where there are none, those that both were.
    """
    seen = {
        name: (pair.origin.seen, other.pairs[name].origin.seen)
        for name, pair in one.pairs.items()
        if name in other.pairs
    }
    both = [name for name, two in seen.items() if two == ("scan", "scan")]
    neither = [name for name, two in seen.items() if "scan" not in two]
    told = {
        "trained on by A only, left out": [n for n, (a, b) in seen.items() if b != "scan" == a],
        "trained on by B only, left out": [n for n, (a, b) in seen.items() if a != "scan" == b],
        "only A was trained on other days of their cases": [
            name for name in neither if seen[name] == ("case", "none")
        ],
        "only B was trained on other days of their cases": [
            name for name in neither if seen[name] == ("none", "case")
        ],
        "trained on by both, left out": both if neither else [],
    }
    notes = [f"{what}: {join_names(scans)}" for what, scans in told.items() if scans]
    if both and not neither:
        notes.append("both were trained on these scans, so this tells nothing of new ones")
    return neither or both, notes


def _unscored_notes(unscored: Mapping[str, str]) -> Iterator[str]:
    """A line a reason."""
    by_reason: dict[str, list[str]] = {}
    for scan, why in unscored.items():
        by_reason.setdefault(why, []).append(scan)
    yield from (f"not compared: {why}: {join_names(scans)}" for why, scans in by_reason.items())
