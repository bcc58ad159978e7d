"""The command `volseg evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from volseg.arguments import DATA, PREDICTIONS
from volseg.cli import output

if TYPE_CHECKING:
    from volseg.evaluation.summary import Scores


def evaluate(
    predictions: Path = PREDICTIONS,
    /,
    *,
    data: Path = DATA,
    out: Path | None = None,
    by: Literal["case", "day", "matrix"] | None = None,
) -> int:
    """Score predictions: Dice, distances in mm, volumes and the competition's score.

    The mean of eight cases or more has its 95 % bootstrap interval over cases in brackets.

    Args:
        predictions: The folder that `volseg infer` wrote.
        data: The prepared dataset with the labels.
        out: The folder for scores.csv and summary.json; by default the predictions' folder.
        by: Show a line for each case, day (the first, second ... of a case) or size of the slices as well.
    """
    output.configure_console()
    from volseg.evaluation import evaluate as stage
    from volseg.evaluation import tables

    scores = stage.evaluate(predictions, data, out=out)
    note_unscored(scores)
    if len(scores.runs) > 1:
        output.message(f"note: these masks are by several runs: {', '.join(scores.runs)}")
    output.print_table(tables.metric_tables(scores))
    if scores.by_run:
        output.print_table(tables.run_table(scores))
    if by:
        output.print_table(tables.summary_table_by(scores, by))
    print(f"{scores.headline.name}: {scores.headline.line}")
    return output.SOME_FAILED if scores.failed else 0


def note_unscored(scores: "Scores") -> None:
    """Print which scans have no score, and why."""
    for scan, why in {**scores.skipped, **scores.failed}.items():
        output.message(f"note: {scan} is not scored: {why}")
