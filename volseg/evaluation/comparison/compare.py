"""`volseg compare`: the better one of two predictions, and whether chance could explain the difference."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from volseg.arguments import MaskOptions
from volseg.errors import UserError
from volseg.evaluation import score_files
from volseg.evaluation.comparison.criterion import Criterion, find_criterion
from volseg.evaluation.comparison.differences import Differences, compare_pairs
from volseg.evaluation.evaluate import ScorableScans, find_scorable_scans, score_pairs
from volseg.evaluation.scan_scores import GROUPS, ScanFilePair, ScanScores
from volseg.formatting import join_names
from volseg.inference.mask_folder import holds_masks
from volseg.runs.run_files import CONFIG


@dataclass(frozen=True)
class ComparedPredictions:
    """One of the two: its folder as the user wrote it, its scans, and the scores stored there."""

    name: str
    scorable: ScorableScans
    known: Mapping[str, ScanScores]

    @cached_property
    def pairs(self) -> dict[str, ScanFilePair]:
        """The scans that can be scored, by name."""
        return {pair.origin.scan: pair for pair in self.scorable.pairs}

    def outdated_scans(self, scans: Sequence[str]) -> list[str]:
        """The scans whose scores are not stored, or are of other masks or labels."""
        made_from = {name: scores.made_from for name, scores in self.known.items()}
        return [name for name in scans if made_from.get(name) != self.pairs[name].origin.made_from]

    def scores(self, scans: Sequence[str]) -> list[ScanScores]:
        """The scores of some scans, as stored or computed anew."""
        return score_pairs([self.pairs[name] for name in scans], known=self.known)


@dataclass(frozen=True, kw_only=True)
class ComparisonResult(Differences):
    """The differences of B from A, and notes on how they came about."""

    a: ComparedPredictions
    b: ComparedPredictions
    criterion: Criterion
    scans: tuple[str, ...]
    notes: tuple[str, ...]


def compare(
    a: Path,
    b: Path,
    data: Path,
    *,
    metric: str = "Dice",
    common: bool = False,
    options: MaskOptions = MaskOptions(),
) -> ComparisonResult:
    """Compare two folders of masks, or of their scores, on the scans of both; write nothing.

    Scores that `evaluate` stored are taken where they are of the present masks and labels; the others
    are computed anew. Scans that one side was trained on and the other not are left out.

    Raises:
        UserError: what `evaluate` refuses in either; scans that only one side has, unless `common`;
            an unknown metric; nothing to compare.
    """
    criterion = find_criterion(metric)
    if a.resolve() == b.resolve():
        raise UserError(f"{a}, {b}: the same folder; name the predictions of two runs or settings")
    one, other = _load_both_predictions(a, b, data, options)
    lacking = list(_scans_of_one_side(one, other))
    if lacking and not common:
        raise UserError.from_problems(
            f"{what}: {', '.join(scans)}; predict them, or pass --common" for what, scans in lacking
        )
    left_out = [f"{what}: {join_names(scans)}" for what, scans in lacking]
    scans, exposure_notes = _comparable_scans(one, other)
    if not scans:
        raise UserError.from_problems([f"{a}, {b}: no scan to compare fairly", *left_out, *exposure_notes])
    scores = one.scores(scans), other.scores(scans)
    notes = (
        *dict.fromkeys((*_mask_notes("A", one, other), *_mask_notes("B", other, one))),
        *(note for side in scores for scan in side for note in scan.notes),
        *_rescoring_notes(one, scans),
        *_rescoring_notes(other, scans),
        *_unscored_notes({**one.scorable.skipped, **other.scorable.skipped}),
        *left_out,
        *exposure_notes,
    )
    differences = compare_pairs(list(zip(*scores, strict=True)), criterion)
    if not differences.overall.difference.cases:
        raise UserError(f"{a}, {b}: no scan whose {criterion.name} both can be given; try --metric Dice")
    return ComparisonResult(
        a=one, b=other, criterion=criterion, scans=tuple(scans), notes=notes, **vars(differences)
    )


def _load_both_predictions(
    a: Path, b: Path, data: Path, options: MaskOptions
) -> tuple[ComparedPredictions, ComparedPredictions]:
    """Both sides, or one error with the problems of either."""
    sides, problems = [], []
    for folder in (a, b):
        try:
            known = score_files.read(folder)
            scans = find_scorable_scans(_find_prediction_folder(folder, known), data, options)
            sides.append(ComparedPredictions(str(folder), scans, known))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError.from_problems(dict.fromkeys(problems))
    return sides[0], sides[1]


def _mask_notes(letter: str, side: ComparedPredictions, opposite: ComparedPredictions) -> Iterator[str]:
    """The notes on the masks of a side, such as of corrections; with its letter where only it has them."""
    for note in side.scorable.notes:
        yield note if note in opposite.scorable.notes else f"{letter}: {note}"


def _rescoring_notes(side: ComparedPredictions, scans: Sequence[str]) -> Iterator[str]:
    """A line where scores are missing or out of date."""
    outdated = side.outdated_scans(scans)
    if outdated and side.known:
        yield f"{side.name}: its scores are out of date; scored anew: {join_names(outdated)}"
    elif outdated:
        keep = f"`volseg evaluate {side.name}` keeps them for next time"
        if score_files.foreign_files(Path(side.name)):
            keep = f"`volseg evaluate {side.name} --out SCORES` keeps them; then compare SCORES"
        yield f"{side.name}: has no scores; {keep}"


def _find_prediction_folder(folder: Path, known: Mapping[str, ScanScores]) -> Path:
    """The folder of predictions: this one, or the one that the scores stored here belong to."""
    if folder.is_file():
        raise UserError(f"{folder}: a file; name the folder that it lies in: {folder.parent}")
    if not known and not holds_masks(folder) and (folder / CONFIG).is_file():
        raise UserError(
            f"{folder}: a run, not predictions; make some: `volseg infer --run {folder} --out ...`"
        )
    if not known or holds_masks(folder):
        return folder  # without scans, `load_masks` says what it should have
    masks = {Path(scan.prediction_folder).parent for scan in known.values()}
    if len(masks) > 1 or not holds_masks(min(masks)):
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
        failed = lacking.scorable.failed
        scans = [
            f"{name} (failed: {failed[name]})" if name in failed else name
            for name in having.pairs
            if name not in lacking.pairs
        ]
        if scans:
            yield f"{lacking.name}: lacks scans that {having.name} has", scans


def _comparable_scans(one: ComparedPredictions, other: ComparedPredictions) -> tuple[list[str], list[str]]:
    """The scans of both that neither side was trained on, or else that both were; notes on the others."""
    seen = {
        name: (pair.origin.seen, other.pairs[name].origin.seen)
        for name, pair in one.pairs.items()
        if name in other.pairs
    }
    both = [name for name, sides in seen.items() if sides == ("scan", "scan")]
    neither = [name for name, sides in seen.items() if "scan" not in sides]

    def exposed(*options: tuple[str, str]) -> list[str]:
        return [name for name, sides in seen.items() if sides in options]

    groups = {
        "trained on by A only, left out": exposed(("scan", "case"), ("scan", "none"), ("scan", "unknown")),
        "trained on by B only, left out": exposed(("case", "scan"), ("none", "scan"), ("unknown", "scan")),
        "unknown whether A was trained on them": exposed(
            *(("unknown", seen) for seen in GROUPS if seen != "scan")
        ),
        "unknown whether B was trained on them": exposed(
            *((seen, "unknown") for seen in GROUPS if seen != "scan")
        ),
        "only A was trained on other days of their cases": exposed(("case", "none")),
        "only B was trained on other days of their cases": exposed(("none", "case")),
        "trained on by both, left out": both if neither else [],
    }
    notes = [f"{what}: {join_names(scans)}" for what, scans in groups.items() if scans]
    notes += _choice_notes(one, other, neither)
    if both and not neither:
        notes.append("both were trained on these scans, so this tells nothing of new ones")
    return neither or both, notes


def _choice_notes(one: ComparedPredictions, other: ComparedPredictions, scans: list[str]) -> Iterator[str]:
    """A line for each side whose weights were chosen by some of the scans, or for both."""
    by_a, by_b = ([name for name in scans if side.pairs[name].origin.chose_weights] for side in (one, other))
    if by_a and by_a == by_b:
        yield f"both sides' weights were chosen by scans compared, so both are too good: {join_names(by_a)}"
        return
    for letter, chose in (("A", by_a), ("B", by_b)):
        if chose:
            names = join_names(chose)
            yield f"the weights of {letter} were chosen by scans compared, so it is too good: {names}"


def _unscored_notes(unscored: Mapping[str, str]) -> Iterator[str]:
    """A line a reason."""
    for reason in dict.fromkeys(unscored.values()):
        scans = [scan for scan, why in unscored.items() if why == reason]
        yield f"not compared: {reason}: {join_names(scans)}"
