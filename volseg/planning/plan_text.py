"""A plan as text: commented YAML, and rows for the terminal."""

from collections.abc import Iterator
from pathlib import Path

from volseg.config import commented_yaml
from volseg.formatting import format_bytes, format_count, format_duration, format_size
from volseg.planning.design_trials import STEP_SECONDS
from volseg.planning.grid_choice import choice_table
from volseg.planning.plan import TrainingPlan
from volseg.planning.tables import epoch_text, memory_text, run_text, source_text
from volseg.runs.config_files import step_lines


def plan_yaml(plan: TrainingPlan, data: Path, out: Path | None) -> str:
    """The planned config as YAML, with the reason of each setting as a comment."""
    header, footer = list(_header_lines(plan, data, out)), list(_footer_lines(plan))
    return commented_yaml.format_config(plan.config, plan.reasons, header, footer)


def _header_lines(plan: TrainingPlan, data: Path, out: Path | None) -> Iterator[str]:
    """The comment above a planned config: its dataset, command, budget, and estimated time and memory."""
    estimate, measured = plan.estimate, plan.estimate.measurements
    file, source = out or Path("PLAN.yaml"), source_text(estimate)
    yield f"{plan.config.network.name} for {plan.statistics.name}, planned by volseg plan."
    limit = f" --max-time {plan.budget.seconds:g}s" if plan.budget.seconds else ""
    yield f"  volseg train {file} --data {data}{limit}"
    yield (
        f"Dataset: {len(plan.statistics.scans)} scans of {plan.statistics.cases} cases, "
        f"{plan.statistics.labelled} labelled; classes: {', '.join(plan.statistics.classes)}; "
        f"the median scan has {format_size(plan.grids.chosen.grid.shape)} voxels on the network's grid."
    )
    yield (
        f"Budget: {plan.budget.description}; a tenth of it is left free. "
        f"Time: {format_duration(plan.budget.seconds) if plan.budget.seconds else 'none was set'}."
    )
    if not plan.budget.gpu:
        yield (
            f"For a CPU: half as many channels, and a step of about {STEP_SECONDS:g} s at most; "
            "more steps of a smaller patch learn more in the same time."
        )
    yield (
        f"{source[:1].upper()}{source[1:]}: "
        f"{measured.step_seconds:.3g} s a step, {epoch_text(estimate)} with validation, "
        f"{run_text(estimate, None)}."
    )
    yield f"Memory: {memory_text(estimate)}."
    yield from _grid_lines(plan)
    if estimate.gpu_memory is not None:
        yield f"GPU memory: {format_bytes(estimate.gpu_memory)} at the peak."


def _grid_lines(plan: TrainingPlan) -> Iterator[str]:
    """The grids that were compared, and what the labels of each class lose by the chosen one."""
    chosen, count = plan.grids.chosen, plan.grids.chosen.ceiling.scans
    yield (
        "Grids: ceiling is the Dice of labels taken to the grid and back, the most that a network can have "
        f"({format_count(count, 'scan')}); a patch sees this share of the median scan; passes are over all "
        "training voxels in the whole run; promise is a rule of thumb for how grids compare, no forecast."
    )
    yield from (f"  {line}" for line in choice_table(chosen, plan.grids.options))
    classes = ", ".join(f"{name} {score:.3f}" for name, score in chosen.ceiling.classes.items())
    yield f"Ceiling of each class on the chosen grid: {classes}."


def _footer_lines(plan: TrainingPlan) -> Iterator[str]:
    """The comment below a planned config: the steps that a run begins with, which its own labels justify."""
    yield (
        "postprocess is left out, so that volseg train begins with what the labels of its training scans "
        "justify, told in the run's postprocess.yaml. By all labelled scans it would be:"
    )
    yield "  postprocess:"
    yield from (f"    {line}" for line in step_lines(plan.label_steps.added_to(plan.config.postprocess)))
    yield from (line.strip() for line in plan.label_steps.comments)


def plan_rows(plan: TrainingPlan) -> Iterator[tuple[str, str]]:
    """Names and values of the main settings, with the estimated time and memory."""
    config, estimate, measured = plan.config, plan.estimate, plan.estimate.measurements
    yield "dataset", f"{plan.statistics.name}: {plan.statistics.labelled} labelled scans"
    yield "budget", plan.budget.description
    yield "grids", "\n".join(choice_table(plan.grids.chosen, plan.grids.options))
    yield "grid", f"{plan.grids.chosen.grid.spacing_text} mm: {plan.reasons['data.spacing_mm']}"
    yield "network", f"{config.network.name}, {measured.parameters / 1e6:.2f} million parameters"
    yield "patch", f"{format_size(config.train.patch)}: {plan.reasons['train.patch']}"
    yield "batch", f"{config.train.batch}: {plan.reasons['train.batch']}"
    yield "a step", f"{measured.step_seconds:.3g} s, {source_text(estimate)}"
    yield "an epoch", epoch_text(estimate)
    yield "the run", run_text(estimate, None)
    yield "memory", memory_text(estimate)
    if estimate.gpu_memory is not None:
        yield "GPU memory", f"{format_bytes(estimate.gpu_memory)} at the peak"
