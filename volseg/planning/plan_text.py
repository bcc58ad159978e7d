"""A planned config as YAML text: each setting with its reason."""

from collections.abc import Iterator
from pathlib import Path

from volseg.config import commented_yaml
from volseg.formatting import format_bytes, format_duration, format_size
from volseg.planning.plan import STEP_SECONDS, TrainingPlan
from volseg.planning.tables import busy_note, epoch_text, memory_text, run_text


def plan_yaml(made: TrainingPlan, data: Path, out: Path | None) -> str:
    """The planned config as commented YAML."""
    return commented_yaml.format_config(made.config, made.reasons, list(_header_lines(made, data, out)))


def _header_lines(made: TrainingPlan, data: Path, out: Path | None) -> Iterator[str]:
    """The comment above a planned config: for what it is, how to launch it, what it will take."""
    told, found = made.estimate, made.estimate.measurements
    file = out or Path("PLAN.yaml")
    yield f"{made.config.network.name} for {made.statistics.name}, planned by volseg plan."
    limit = f" --max-time {made.budget.seconds:g}s" if made.budget.seconds else ""
    yield f"  volseg train {file} --data {data}{limit}"
    yield (
        f"Dataset: {len(made.statistics.scans)} scans of {made.statistics.cases} cases, "
        f"{made.statistics.labelled} labelled; classes: {', '.join(made.statistics.classes)}; "
        f"the median scan has {format_size(made.target.shape)} voxels on the network's grid."
    )
    yield (
        f"Budget: {made.budget.description}; a tenth of it is left free. "
        f"Time: {format_duration(made.budget.seconds) if made.budget.seconds else 'none was set'}."
    )
    if not made.budget.gpu:
        yield (
            f"For a CPU: half as many channels, and a step of about {STEP_SECONDS:g} s at most; "
            "more steps of a smaller patch learn more in the same time."
        )
    yield (
        f"Measured in {found.steps} steps on {found.device}{busy_note()}: {found.step_seconds:.3g} s "
        f"a step, {epoch_text(told)} with validation, {run_text(told, None)}."
    )
    yield f"Memory: {memory_text(told)}."
    if found.gpu_memory is not None:
        yield f"GPU memory: {format_bytes(found.gpu_memory)} at the peak."


def plan_rows(made: TrainingPlan) -> Iterator[tuple[str, str]]:
    """What was chosen, in short."""
    config, told = made.config, made.estimate
    yield "dataset", f"{made.statistics.name}: {made.statistics.labelled} labelled scans"
    yield "budget", made.budget.description
    yield ("grid", f"{' x '.join(f'{mm:g}' for mm in made.target.spacing_mm)} mm: {made.target.reason}")
    yield ("network", f"{config.network.name}, {told.measurements.parameters / 1e6:.2f} million parameters")
    yield "patch", f"{format_size(config.train.patch)}: {made.reasons['train.patch']}"
    yield "batch", f"{config.train.batch}: {made.reasons['train.batch']}"
    yield ("a step", f"{told.measurements.step_seconds:.3g} s on {told.measurements.device}{busy_note()}")
    yield "an epoch", epoch_text(told)
    yield "the run", run_text(told, None)
    yield "memory", memory_text(told)
