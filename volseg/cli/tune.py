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
    """Find on a run's validation scans how its masks are best cleaned, class by class, and what that gains.

    What helps goes into the run's postprocess.yaml, which `volseg infer` goes by. Settings are chosen on
    some cases and judged on others, so the gain is what new cases can expect.

    Parameters
    ----------
    run:
        A run's name under runs/, or its path; by default the newest. Five folds are tuned as one.
    data:
        The prepared dataset that it was trained on.
    score:
        What is to gain: the competition's score, Dice, or surface Dice at 2 mm.
    max_seconds:
        The most time to take, e.g. 90s or 1h; what could not be tried is told.
    """
    output.configure_console()
    from volseg.tuning import tables
    from volseg.tuning import tune as stage

    new, found = stage.tune(run, data, goal=score, max_seconds=max_seconds)
    for note in found.notes:
        output.message(f"note: {note}")
    output.print_table(tables.tuning_table(found))
    for line in tables.closing_lines(new, found):
        print(line)
