"""A planned config as YAML text: each setting with its reason."""

from collections.abc import Iterator
from pathlib import Path

from volseg.config import commented_yaml
from volseg.formatting import amount, by, duration
from volseg.planning.plan import STEP_SECONDS, Plan
from volseg.planning.tables import busy, epoch, memory, run


def text(made: Plan, data: Path, out: Path | None) -> str:
    """The planned config as commented YAML."""
    return commented_yaml.text(made.config, made.reasons, list(_header(made, data, out)))


def _header(made: Plan, data: Path, out: Path | None) -> Iterator[str]:
    """The comment above a planned config: for what it is, how to launch it, what it will take."""
    told, found = made.forecast, made.forecast.found
    file = out or Path("PLAN.yaml")
    yield f"{made.config.network.name} for {made.found.name}, planned by volseg plan."
    limit = f" --max-time {made.budget.seconds:g}s" if made.budget.seconds else ""
    yield f"  volseg train {file} --data {data}{limit}"
    yield (
        f"Dataset: {len(made.found.scans)} scans of {made.found.cases} cases, "
        f"{made.found.labelled} labelled; classes: {', '.join(made.found.classes)}; "
        f"the median scan has {by(made.target.shape)} voxels on the network's grid."
    )
    yield (
        f"Budget: {made.budget.told}; a tenth of it is left free. "
        f"Time: {duration(made.budget.seconds) if made.budget.seconds else 'none was set'}."
    )
    if not made.budget.gpu:
        yield (
            f"For a CPU: half as many channels, and a step of about {STEP_SECONDS:g} s at most; "
            "more steps of a smaller patch learn more in the same time."
        )
    yield (
        f"Measured in {found.steps} steps on {found.device}{busy()}: {found.step_seconds:.3g} s "
        f"a step, {epoch(told)} with validation, {run(told, None)}."
    )
    yield f"Memory: {memory(told)}."
    if found.gpu_memory is not None:
        yield f"GPU memory: {amount(found.gpu_memory)} at the peak."


def rows(made: Plan) -> Iterator[tuple[str, str]]:
    """What was chosen, in short."""
    config, told = made.config, made.forecast
    yield "dataset", f"{made.found.name}: {made.found.labelled} labelled scans"
    yield "budget", made.budget.told
    yield (
        "grid",
        f"{' x '.join(f'{mm:g}' for mm in made.target.spacing_mm)} mm: {made.target.reason}",
    )
    yield "network", f"{config.network.name}, {told.found.parameters / 1e6:.2f} million parameters"
    yield "patch", f"{by(config.train.patch)}: {made.reasons['train.patch']}"
    yield "batch", f"{config.train.batch}: {made.reasons['train.batch']}"
    yield "a step", f"{told.found.step_seconds:.3g} s on {told.found.device}{busy()}"
    yield "an epoch", epoch(told)
    yield "the run", run(told, None)
    yield "memory", memory(told)
