"""What tuning found, in words: a table, and what to say in the end."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from volseg.inference.out_of_fold import OutOfFoldScans
from volseg.runs.config_files import POSTPROCESS
from volseg.tuning.objectives import OBJECTIVES
from volseg.tuning.tuning_file import Gain, TuningFile, TuningRow

if TYPE_CHECKING:
    from rich.table import Table

DIGITS = 4
STILL = 'still: best on all cases, but without some of them another was; "all steps" counts that too'
POOLED = "all: over all classes' slices together, as the competition's score is, not the mean of the rows"


def gain_sentence(found: TuningFile) -> str:
    """What all of it gains."""
    gain = found.gain.estimate
    chance = " (it may be chance)" if gain.has_interval and gain.low <= 0 < gain.mean else ""
    return (
        f"{OBJECTIVES[found.score].title} {found.before:.{DIGITS}f} -> {found.after:.{DIGITS}f}, "
        f"{gain.to_text(DIGITS, sign='+')}{chance}; {found.scans} scans, {gain.interval_basis}; each case judged by "
        "what the others chose"
    )


def closing_lines(new: OutOfFoldScans, found: TuningFile) -> Iterator[str]:
    """What to say in the end: the gain, what was not tried, and where the steps are."""
    if found.untried:
        yield f"no time was left to try {', '.join(found.untried)}; give more with --max-time"
    yield gain_sentence(found)
    file = new.folder / POSTPROCESS if len(new.members) == 1 else f"{new.folder}/fold*/{POSTPROCESS}"
    if found.has_improvements:
        yield f"{file}: `volseg infer` goes by it from now on"
    else:
        yield f"nothing helps: {file} stays as it was"


def tuning_table(found: TuningFile) -> "Table":
    """A row for each step that was found or had an effect: what it gained, and whether it is kept."""
    from rich.table import Table

    shown = Table("", "step", "gain", "kept")
    for organ, all_steps in found.organs.items():
        for row in found.rows:
            if row.organ == organ and row.had_alternatives:
                shown.add_row(organ, _format_change(row), _format_gain(row.gain), _yes_or_no(row))
        shown.add_row(organ, "all steps", _format_gain(all_steps.gain), "", end_section=True)
    shown.add_row("all", "all steps", _format_gain(found.gain), "")
    shown.caption, shown.caption_justify = "\n".join(_legend_lines(found)), "left"
    return shown


def _legend_lines(found: TuningFile) -> Iterator[str]:
    if any(row.had_alternatives and row.was == row.chosen for row in found.rows):
        yield STILL
    if found.score == "kaggle" and len(found.organs) > 1:
        yield POOLED


def _format_change(row: TuningRow) -> str:
    return f"{row.slot}: {row.was} still" if row.was == row.chosen else f"{row.was} -> {row.chosen}"


def _yes_or_no(row: TuningRow) -> str:
    return "yes" if row.kept else "no"


def _format_gain(gain: Gain) -> str:
    return gain.estimate.to_text(DIGITS, sign="+")
