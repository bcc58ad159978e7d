"""What tuning found, in words: a table, and what to say in the end."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from volseg.inference.out_of_fold import NewScans
from volseg.runs.config_files import POSTPROCESS
from volseg.tuning.objectives import GOALS
from volseg.tuning.tuning_file import Gain, Row, Tuned

if TYPE_CHECKING:
    from rich.table import Table

DIGITS = 4
STILL = (
    'still: best on all cases, but without some of them another was; "all steps" counts that too'
)
POOLED = "all: over all classes' slices together, as the competition's score is, not the mean of the rows"


def sentence(found: Tuned) -> str:
    """What all of it gains."""
    gain = found.gain.estimate
    chance = " (it may be chance)" if gain.known and gain.low <= 0 < gain.mean else ""
    return (
        f"{GOALS[found.score].title} {found.before:.{DIGITS}f} -> {found.after:.{DIGITS}f}, "
        f"{gain.text(DIGITS, sign='+')}{chance}; {found.scans} scans, {gain.basis}; each case judged by "
        "what the others chose"
    )


def lines(new: NewScans, found: Tuned) -> Iterator[str]:
    """What to say in the end: the gain, what was not tried, and where the steps are."""
    if found.untried:
        yield f"no time was left to try {', '.join(found.untried)}; give more with --max-time"
    yield sentence(found)
    file = (
        new.folder / POSTPROCESS if len(new.members) == 1 else f"{new.folder}/fold*/{POSTPROCESS}"
    )
    if found.changed:
        yield f"{file}: `volseg infer` goes by it from now on"
    else:
        yield f"nothing helps: {file} stays as it was"


def table(found: Tuned) -> "Table":
    """A row for each step that was found or had an effect: what it gained, and whether it is kept."""
    from rich.table import Table

    shown = Table("", "step", "gain", "kept")
    for organ, all_steps in found.organs.items():
        for row in found.rows:
            if row.organ == organ and row.tells:
                shown.add_row(organ, _change(row), _text(row.gain), _kept(row))
        shown.add_row(organ, "all steps", _text(all_steps.gain), "", end_section=True)
    shown.add_row("all", "all steps", _text(found.gain), "")
    shown.caption, shown.caption_justify = "\n".join(_legend(found)), "left"
    return shown


def _legend(found: Tuned) -> Iterator[str]:
    if any(row.tells and row.was == row.chosen for row in found.rows):
        yield STILL
    if found.score == "kaggle" and len(found.organs) > 1:
        yield POOLED


def _change(row: Row) -> str:
    return f"{row.slot}: {row.was} still" if row.was == row.chosen else f"{row.was} -> {row.chosen}"


def _kept(row: Row) -> str:
    return "yes" if row.kept else "no"


def _text(gain: Gain) -> str:
    return gain.estimate.text(DIGITS, sign="+")
