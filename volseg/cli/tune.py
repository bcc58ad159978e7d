"""The command `volseg tune`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from volseg.arguments import MAX_TIME, DeviceName, InferArguments
from volseg.arguments.values import Many
from volseg.cli import output
from volseg.errors import UserError


def tune(
    run: str | None = None,
    /,
    *,
    runs: Annotated[Many[str], Parameter(name="--run")] = (),
    data: Path | None = None,
    score: Literal["kaggle", "dice", "surface_dice"] | None = None,
    max_seconds: Annotated[float, MAX_TIME, Parameter(show_default=lambda _: "10m")] = 600.0,
    device: DeviceName = None,
) -> None:
    """Find the best post-processing of each class on a run's validation scans, and what it gains.

    A step changes where that gains more than its spread over cases, in the run's postprocess.yaml, which
    `volseg infer` follows. The gain told is that of cases that had no part in choosing. With several --run
    it finds the weights of these runs in an ensemble instead, which `volseg infer` follows too.

    Args:
        run: A run's name under runs/, or its path; by default the newest. Five folds are tuned as one.
        runs: Runs that predict together, whose weights to find.
        data: The prepared dataset that it was trained on, if that is no longer where it was.
        score: What to improve: the competition's score, by default on its data, Dice, by default on all
            others, or surface Dice at 2 mm.
        max_seconds: The most time to take, e.g. 90s or 1h; settings that were not tried are listed.
        device: cpu, cuda, cuda:1 (the second GPU) or mps; by default a GPU if there is one.
    """
    if run is not None and runs:
        raise UserError(f"tune: name all runs by --run, or one without it; got {run} and --run {runs[0]}")
    output.configure_console()
    from volseg.tuning import tables, tune_weights, weight_tables
    from volseg.tuning import tune as stage

    how = InferArguments(device=device)
    if len(runs) > 1:
        found = tune_weights.tune_weights(runs, data, goal=score, max_seconds=max_seconds, how=how)
        output.print_table(weight_tables.weights_table(found))
        for line in weight_tables.weights_lines(found):
            print(line)
        return
    scans, result = stage.tune(runs[0] if runs else run, data, goal=score, max_seconds=max_seconds, how=how)
    for note in result.notes:
        output.message(f"note: {note}")
    output.print_table(tables.tuning_table(result))
    for line in tables.closing_lines(scans, result):
        print(line)
