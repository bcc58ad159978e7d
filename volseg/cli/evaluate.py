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

    The mean of eight cases or more has its 95 % interval in brackets, found by drawing cases.

    Parameters
    ----------
    predictions:
        The folder that `volseg infer` wrote.
    data:
        The prepared dataset that holds the truth.
    out:
        The folder for scores.csv and summary.json; by default the predictions' folder.
    by:
        Show a line for each case, day (the first, second ... of a case) or size of the slices as well.
    """
    output.configure_console()
    from volseg.evaluation import evaluate as stage
    from volseg.evaluation import tables

    scores = stage.evaluate(predictions, data, out=out)
    _note_unscored(scores)
    if len(scores.runs) > 1:
        output.message(f"note: these masks are by several runs: {', '.join(scores.runs)}")
    output.print_table(tables.metric_tables(scores))
    if scores.by_run:
        output.print_table(tables.summary_table("run", scores.by_run))
    if by:
        output.print_table(tables.summary_table(by, scores.summaries_by(by)))
    print(f"{scores.headline.name}: {scores.headline.line}")
    return output.SOME_FAILED if scores.failed else 0


def _note_unscored(scores: "Scores") -> None:
    for scan, why in {**scores.skipped, **scores.failed}.items():
        output.message(f"note: {scan} is not scored: {why}")
