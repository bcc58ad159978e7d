"""`volseg compare`: which of two predictions is better, by how much, and whether that can be told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import UserError
from volseg.runs import CONFIG
from volseg.stages import score_files
from volseg.stages.differences import Row, ScanDifference, by_scan, groups, row
from volseg.stages.evaluate import scores_of
from volseg.stages.predictions import holds_scans
from volseg.stages.scores import ScanScores, Scores
from volseg.stages.yardstick import Yardstick, yardstick

MOST = 8
"""Scans that a line names; the rest are counted."""


@dataclass(frozen=True)
class Side:
    """One of the two: the folder as the user called it, and its scores."""

    name: str
    scores: Scores
    notes: tuple[str, ...] = ()

    @property
    def scans(self) -> dict[str, ScanScores]:
        """The scored scans by name."""
        return {one.scan: one for one in self.scores.scans}


@dataclass(frozen=True)
class Compared:
    """The differences of B from A; `by_scan` runs from the best for A to the best for B."""

    a: Side
    b: Side
    by: Yardstick
    scans: tuple[str, ...]
    overall: Row
    classes: tuple[Row, ...]
    groups: tuple[Row, ...]
    by_scan: tuple[ScanDifference, ...]
    notes: tuple[str, ...]


def compare(
    a: Path, b: Path, data: Path, *, metric: str = "Dice", common: bool = False
) -> Compared:
    """Compare two folders of predictions, or of their scores, on the scans of both; write nothing.

    Scores that `evaluate` left are taken where they are of the masks and labels that lie there; the
    others are found anew. Scans that one side was trained on and the other not are left out.

    Raises:
        UserError: what `evaluate` refuses, of both sides at once; scans that only one side has, unless
            `common`; an unknown metric; nothing to compare.
    """
    by = yardstick(metric)
    if a.resolve() == b.resolve():
        raise UserError(f"{a}, {b}: the same folder; name the predictions of two runs or settings")
    one, other = _sides(a, b, data)
    left_out = list(_of_one_side(one, other))
    if left_out and not common:
        raise UserError.of(f"{line}; predict them, or pass --common" for line in left_out)
    pairs = [(scan, other.scans[name]) for name, scan in one.scans.items() if name in other.scans]
    fair, told = _fair(pairs)
    if not fair:
        raise UserError.of([f"{a}, {b}: no scan to compare fairly", *left_out, *told])
    organs = list(fair[0][0].values)
    overall = row("all classes", fair, organs, by)
    if not overall.difference.cases:
        raise UserError(f"{a}, {b}: no scan whose {by.name} both can be given; try --metric Dice")
    unscored = {**one.scores.skipped, **other.scores.skipped}
    return Compared(
        one,
        other,
        by,
        tuple(scan.scan for scan, _ in fair),
        overall,
        tuple(row(organ, fair, [organ], by) for organ in organs),
        tuple(row(name, some, organs, by) for name, some in groups(fair).items()),
        tuple(by_scan(fair, organs, by)),
        (
            *one.notes,
            *other.notes,
            *(f"{scan} is not compared: {why}" for scan, why in unscored.items()),
            *left_out,
            *told,
        ),
    )


def _sides(a: Path, b: Path, data: Path) -> tuple[Side, Side]:
    """Both sides, or one error with what is wrong with either."""
    made: list[Side] = []
    problems = []
    for folder in (a, b):
        try:
            made.append(_side(folder, data))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError.of(dict.fromkeys(problems))
    return made[0], made[1]


def _side(folder: Path, data: Path) -> Side:
    known = score_files.read(folder)
    scores = scores_of(_masks(folder, list(known.values())), data, known=known)
    anew = [
        one.scan
        for one in scores.scans
        if one.scan not in known or known[one.scan].made_from != one.made_from
    ]
    notes = []
    if anew and known:
        notes.append(f"{folder}: its scores are out of date; scored anew: {_listed(anew)}")
    elif anew:
        notes.append(
            f"{folder}: has no scores; `volseg evaluate {folder}` keeps them for next time"
        )
    return Side(str(folder), scores, tuple(notes))


def _masks(folder: Path, known: Sequence[ScanScores]) -> Path:
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
    masks = {Path(one.prediction).parent for one in known}
    if len(masks) > 1 or not holds_scans(min(masks)):
        raise UserError(
            f"{folder}: its scores are of the masks in {', '.join(map(str, sorted(masks)))}, which are "
            "not there; name the folder of the predictions"
        )
    return masks.pop()


def _of_one_side(one: Side, other: Side) -> Iterator[str]:
    """A line for each side that lacks scans of the other."""
    for lacking, having in ((one, other), (other, one)):
        missing = [name for name in having.scans if name not in lacking.scans]
        failed = lacking.scores.failed
        told = [f"{name} (failed: {failed[name]})" if name in failed else name for name in missing]
        if told:
            yield f"{lacking.name}: lacks scans that {having.name} has: {_listed(told)}"


def _fair(
    pairs: Sequence[tuple[ScanScores, ScanScores]],
) -> tuple[list[tuple[ScanScores, ScanScores]], list[str]]:
    """The pairs that tell of new scans, and what is to be said of the others.

    Those that neither side was trained on; where there are none, those that both were.
    """
    both = [pair for pair in pairs if all(one.seen == "scan" for one in pair)]
    neither = [pair for pair in pairs if all(one.seen != "scan" for one in pair)]
    notes = []
    for name, side, against in (("A", 0, 1), ("B", 1, 0)):
        alone = [p[0].scan for p in pairs if p[side].seen == "scan" and p[against].seen != "scan"]
        if alone:
            notes.append(f"trained on by {name} only, left out: {_listed(alone)}")
        known = [p[0].scan for p in neither if p[side].seen == "case" and p[against].seen == "none"]
        if known:
            notes.append(f"only {name} was trained on other days of these cases: {_listed(known)}")
    if both and neither:
        notes.append(f"trained on by both, left out: {_listed([one.scan for one, _ in both])}")
    elif both:
        notes.append("both were trained on these scans, so this tells nothing of new ones")
    return neither or both, notes


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more} more" if more > 0 else "")
