"""The command `volseg compare`."""

from pathlib import Path

from volseg.arguments import CompareArguments
from volseg.cli import output
from volseg.errors import UserError


def compare(
    a: Path,
    b: Path,
    /,
    *,
    data: Path | None = None,
    json: bool = False,
    options: CompareArguments = CompareArguments(),
) -> None:
    """Compare two predictions of the same scans: which is better, and whether chance could explain it.

    The difference has a 95 % bootstrap interval over cases. If it contains 0, or there are fewer than
    eight cases, neither can be called better. Scans that either was trained on are left out.

    Args:
        a: A folder of masks by volseg or another tool, or one with the scores that `volseg evaluate` wrote.
        b: The other one.
        data: The prepared dataset with the labels; by default that of the predictions, or data/prepared.
        json: Print everything, each scan too, as JSON on stdout.
    """
    output.configure_console()
    from volseg.evaluation.comparison import compare as stage
    from volseg.evaluation.comparison import tables
    from volseg.inference.prediction_places import dataset_of_predictions, missing_folder_problem

    if data is None and not (a.exists() or b.exists()):  # a dataset that nobody named is not to blame
        raise UserError.from_problems(map(missing_folder_problem, (a, b)))
    truth = data or dataset_of_predictions(a, b)
    result = stage.compare(a, b, truth, metric=options.metric, common=options.common, options=options)
    output.notes(tables.verdict_notes(result))
    if json:
        print(tables.result_json(result))
        return
    output.print_table(tables.class_difference_table(result))
    output.print_table(tables.scan_difference_table(result))
    print(tables.verdict_sentence(result))
