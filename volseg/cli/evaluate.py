"""The command `volseg evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from volseg.arguments import CohortArguments, MaskOptions
from volseg.cli import output
from volseg.formatting import names_by_reason

if TYPE_CHECKING:
    from volseg.evaluation.summary import Scores


def evaluate(
    predictions: Path | None = None,
    /,
    *,
    data: Path | None = None,
    out: Path | None = None,
    by: Literal["case", "day", "matrix"] | None = None,
    masks: MaskOptions = MaskOptions(),
    cohort: CohortArguments = CohortArguments(),
) -> int:
    """Score masks of volseg or any other tool: Dice, distances in mm, volumes, the competition's score.

    The mean of eight cases or more has its 95 % bootstrap interval over cases in brackets.

    Args:
        predictions: The folder that `volseg infer` wrote, by default the newest below predictions/, or one
            with <scan>/<class>.nii.gz or maps of labels, <scan>.nii.gz.
        data: The prepared dataset with the labels; by default that of the predictions, or data/prepared.
        out: The folder for scores.csv and summary.json; by default the folder of the masks.
        by: Show a line for each case, day (the first, second ... of a case) or size of the slices as well.
    """
    output.configure_console()
    from volseg.evaluation import evaluate as stage
    from volseg.evaluation import tables
    from volseg.inference.prediction_places import dataset_of_predictions

    folder = output.predictions_folder(predictions)
    truth = data or dataset_of_predictions(folder)
    scores = stage.evaluate(folder, truth, out=out, options=masks, cohort=cohort)
    note_unscored(scores)
    output.notes(scores.notes)
    output.print_table(tables.metric_tables(scores))
    if scores.by_run:
        output.print_table(tables.summary_table("run", scores.by_run))
    if by:
        output.print_table(tables.summary_table(by, scores.summaries_by(by)))
    print(f"{scores.headline.name}: {scores.headline.line}")
    return output.SOME_FAILED if scores.failed else 0


def note_unscored(scores: "Scores") -> None:
    """Print which scans have no score, and why: a line a reason."""
    for scans, why in names_by_reason({**scores.skipped, **scores.failed}):
        output.message(f"note: {scans}: not scored: {why}")
