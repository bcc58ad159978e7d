"""The result of tuning as a table, and the lines that end the command."""

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


def gain_sentence(tuning: TuningFile) -> str:
    """The gain of all steps together, with its interval."""
    gain = tuning.gain.estimate
    chance = " (it may be chance)" if gain.has_interval and gain.low <= 0 < gain.mean else ""
    return (
        f"{OBJECTIVES[tuning.score].title} {tuning.before:.{DIGITS}f} -> {tuning.after:.{DIGITS}f}, "
        f"{_format_gain(tuning.gain)}{chance}; {tuning.scans} scans, {gain.interval_basis}; each case judged "
        "by what the others chose"
    )


def closing_lines(scans: OutOfFoldScans, tuning: TuningFile) -> Iterator[str]:
    """The steps that were not tried, the gain, and the file of the steps."""
    if tuning.untried:
        yield f"no time was left to try {', '.join(tuning.untried)}; give more with --max-time"
    yield gain_sentence(tuning)
    file = scans.folder / POSTPROCESS if len(scans.members) == 1 else f"{scans.folder}/fold*/{POSTPROCESS}"
    if tuning.has_improvements:
        yield f"{file}: `volseg infer` goes by it from now on"
    else:
        yield f"nothing helps: {file} stays as it was"


def tuning_table(tuning: TuningFile) -> "Table":
    """A row for each step that was chosen or had an effect: its gain, and whether it is kept."""
    from rich.table import Table

    table = Table("", "step", "gain", "kept")
    for name, all_steps in tuning.organs.items():
        for row in tuning.rows:
            if row.organ == name and row.had_alternatives:
                kept = "yes" if row.kept else "no"
                table.add_row(name, _format_change(row), _format_gain(row.gain), kept)
        table.add_row(name, "all steps", _format_gain(all_steps.gain), "", end_section=True)
    table.add_row("all", "all steps", _format_gain(tuning.gain), "")
    table.caption, table.caption_justify = "\n".join(_legend_lines(tuning)), "left"
    return table


def _legend_lines(tuning: TuningFile) -> Iterator[str]:
    if any(row.had_alternatives and row.was == row.chosen for row in tuning.rows):
        yield STILL
    if tuning.score == "kaggle" and len(tuning.organs) > 1:
        yield POOLED


def _format_change(row: TuningRow) -> str:
    return f"{row.slot}: {row.was} still" if row.was == row.chosen else f"{row.was} -> {row.chosen}"


def _format_gain(gain: Gain) -> str:
    return gain.estimate.to_text(DIGITS, sign="+")
