"""The weights that were found for an ensemble, as a table and in the lines that end the command."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from volseg.evaluation.bootstrap import LEAST_CASES
from volseg.tuning.objectives import OBJECTIVES
from volseg.tuning.tables import DIGITS
from volseg.tuning.tune_weights import TunedWeights

if TYPE_CHECKING:
    from rich.table import Table


def weights_table(tuned: TunedWeights) -> "Table":
    """The score of equal weights, of each run alone and of the weights that were chosen, over all scans."""
    from rich.table import Table

    table = Table(*(folder.name for folder in tuned.folders), OBJECTIVES[tuned.goal].title, "")
    for shares, score in tuned.scores.items():
        chosen = "from now on" if shares == tuned.shares and not tuned.left_out else ""
        table.add_row(*(f"{share:.3g}" for share in shares), f"{score:.{DIGITS}f}", chosen)
    return table


def weights_lines(tuned: TunedWeights) -> Iterator[str]:
    """What was found for an ensemble, what new cases can expect, and where infer finds it."""
    if tuned.cases < LEAST_CASES:
        yield f"{tuned.cases} cases are too few to promise new cases anything; {LEAST_CASES} are needed"
    if not tuned.is_changed:
        yield f"no weights are better than equal ones by more than the spread over {tuned.cases} cases"
        yield "`volseg infer` goes on with equal weights"
        return
    yield f"found {tuned.sentence(DIGITS)}"
    runs = [
        f"--run {folder}={share:.3g}" if share < 1 else f"--run {folder}"
        for folder, share in zip(tuned.folders, tuned.shares, strict=True)
        if share
    ]
    if tuned.left_out:
        out = ", ".join(map(str, tuned.left_out))
        yield f"better without {out}; nothing is written: predict by `volseg infer {' '.join(runs)} ...`"
    else:
        named = " ".join(f"--run {folder}" for folder in tuned.folders)
        yield f"{tuned.file}: `volseg infer {named} ...` goes by it from now on"
