"""The command `volseg tune`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from volseg.arguments import DATA, MAX_TIME
from volseg.cli import output


def tune(
    run: str | None = None,
    /,
    *,
    data: Path = DATA,
    score: Literal["kaggle", "dice", "surface_dice"] = "kaggle",
    max_seconds: Annotated[float, MAX_TIME, Parameter(show_default=lambda _: "10m")] = 600.0,
) -> None:
    """Find the best post-processing of each class on a run's validation scans, and what it gains.

    A step changes where that gains more than its spread over cases, in the run's postprocess.yaml, which
    `volseg infer` follows. The gain told is that of cases that had no part in choosing.

    Args:
        run: A run's name under runs/, or its path; by default the newest. Five folds are tuned as one.
        data: The prepared dataset that it was trained on.
        score: What to improve: the competition's score, Dice, or surface Dice at 2 mm.
        max_seconds: The most time to take, e.g. 90s or 1h; settings that were not tried are listed.
    """
    output.configure_console()
    from volseg.tuning import tables
    from volseg.tuning import tune as stage

    scans, result = stage.tune(run, data, goal=score, max_seconds=max_seconds)
    for note in result.notes:
        output.message(f"note: {note}")
    output.print_table(tables.tuning_table(result))
    for line in tables.closing_lines(scans, result):
        print(line)
