"""What keeps runs from predicting together, a line each."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from volseg.formatting import join_names
from volseg.runs.run import Run


def weight_problems(named: Sequence[tuple[str, float | None]]) -> Iterator[str]:
    """A line where some of several runs have a weight and others have none."""
    lacking = [name for name, weight in named if weight is None]
    given = [name for name, weight in named if weight is not None]
    if lacking and given:
        yield (
            f"--run {join_names(lacking)}: no weight, though {join_names(given)} has one; give a weight to "
            f"each, as in {lacking[0]}=0.5, or to none"
        )


def duplicate_problems(members: Sequence[Path]) -> Iterator[str]:
    """A line for each folder that is there before."""
    paths = [member.resolve() for member in members]
    for position, member in enumerate(members):
        if paths[position] in paths[:position]:
            yield f"{member}: named twice; name each run once, it would count double"


def mismatch_problems(runs: Sequence[Run]) -> Iterator[str]:
    """A line for each run that can't be averaged with the first."""
    first = _run_traits(runs[0])
    for run in runs[1:]:
        traits = _run_traits(run).items()
        differences = [f"{t} {value} (there {first[t]})" for t, value in traits if value != first[t]]
        if differences:
            yield (
                f"{run.folder}: can't be averaged with {runs[0].folder}: {'; '.join(differences)}; "
                "name runs with the same classes and channels, in the same order"
            )


def _run_traits(run: Run) -> dict[str, str]:
    facts = run.facts
    return {
        "has the classes": ", ".join(facts.classes),
        "has the channels": ", ".join(facts.channels),
        "its classes": "exclude each other" if facts.exclusive else "may overlap",
    }
