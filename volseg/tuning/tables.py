"""The result of tuning in words and as a table, and the lines that end the command."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from volseg.evaluation.bootstrap import LEAST_CASES
from volseg.formatting import format_count
from volseg.inference.out_of_fold import OutOfFoldScans
from volseg.runs.config_files import POSTPROCESS
from volseg.tuning.nested_cross_validation import LEAST_SHOWING
from volseg.tuning.objectives import OBJECTIVES
from volseg.tuning.tuning_file import TuningFile, TuningRow

if TYPE_CHECKING:
    from rich.table import Table

DIGITS = 4
NOTHING = "nothing"


def result_sentence(tuning: TuningFile, digits: int = 3) -> str:
    """What new cases can expect, in a sentence that claims no more than its interval."""
    score, gain = OBJECTIVES[tuning.score].title.removeprefix("the "), tuning.gain.estimate
    cases = format_count(tuning.cases, "case")
    few = f"{cases} are too few to promise new cases anything; {LEAST_CASES} are needed."
    if not tuning.has_improvements:
        nothing = f"Nothing helped by more than its spread over {cases}"
        if tuning.cases < LEAST_SHOWING:
            nothing = f"{cases} are too few to show that a step helps; {LEAST_SHOWING} are needed"
        stay = f"{nothing}: the steps stay as they were, with a mean {score} of {tuning.before:.{digits}f}."
        return stay if tuning.cases >= LEAST_CASES else f"{stay} And {few}"
    if not gain.has_interval:
        return f"The steps are changed, but {few}"
    expected = (
        f"new cases can expect a mean {score} of {tuning.after:.{digits}f} instead of "
        f"{tuning.before:.{digits}f}, a gain of {gain.to_text(digits, sign='+')} ({cases}, each judged by "
        "what the others chose)"
    )
    if tuning.gain.is_significant:
        return f"The tuned steps are better: {expected}."
    if gain.high < 0:
        return f"The tuned steps are worse: {expected}."
    return f"It is not sure that the tuned steps are better: {expected}, and the interval holds 0."


def provenance_lines(tuning: TuningFile) -> Iterator[str]:
    """The lines of comment above tuned steps: by what they were tuned, what changed and what to expect."""
    scans = f"{format_count(tuning.scans, 'scan')} of {format_count(tuning.cases, 'case')}"
    yield f"By volseg tune {tuning.version} on {tuning.date}, on {scans}:"
    yield from (f"  {row.organ}: {format_change(row)}" for row in tuning.changes)
    yield result_sentence(tuning, DIGITS)


def closing_lines(scans: OutOfFoldScans, tuning: TuningFile) -> Iterator[str]:
    """The steps that were not tried, what new cases can expect, and the file of the steps."""
    if tuning.untried:
        yield f"no time was left to try {', '.join(tuning.untried)}; give more with --max-time"
    yield result_sentence(tuning, DIGITS)
    file = scans.folder / POSTPROCESS if len(scans.members) == 1 else f"{scans.folder}/fold*/{POSTPROCESS}"
    if tuning.has_improvements:
        yield f"{file}: `volseg infer` goes by it from now on"
    else:
        yield f"nothing helps: {file} stays as it was"


def tuning_table(tuning: TuningFile) -> "Table":
    """For each class what changed, and the steps that it has from now on."""
    from rich.table import Table

    table = Table("", "what changed", "steps from now on")
    for name, all_steps in tuning.organs.items():
        changes = [format_change(row) for row in tuning.changes if row.organ == name]
        table.add_row(name, "\n".join(changes) or NOTHING, "\n".join(all_steps.steps_after), end_section=True)
    return table


def format_change(row: TuningRow) -> str:
    """`none -> keep_largest k=1`."""
    return f"{row.was} -> {row.chosen}"
