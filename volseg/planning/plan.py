"""`volseg plan`: a config that suits a dataset and a machine, with the reason of each setting.

The rules are nnU-Net's (Isensee et al. 2021): `target_grid` chooses the grid, `network_design` networks
and patches. Whether a patch fits into memory is measured in a few training steps.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from volseg.arguments import PlanArguments
from volseg.config.config import Config, validate_values
from volseg.data.dataset import Dataset
from volseg.data.splits import FOLDS
from volseg.errors import UserError
from volseg.formatting import format_bytes, format_size
from volseg.planning import target_grid
from volseg.planning.design_search import ResourceUse, largest_fitting
from volseg.planning.network_design import BATCH, NetworkDesign, candidate_designs
from volseg.planning.resource_estimate import ResourceEstimate, TrialTooLargeError, estimate_resources
from volseg.planning.target_grid import TargetGrid
from volseg.postprocessing.label_steps import LabelSteps
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.scan_stats import ScanStats
from volseg.stats.stats import stats
from volseg.system.hardware import free_memory
from volseg.training.label_parts import steps_by_labels

log = logging.getLogger(__name__)
ROOM = 0.9  # share of the memory that a trial may use; training may need more than its first few steps
STEP_SECONDS = 1.0
"""Seconds of a step at most on an idle CPU, where more steps are worth more than a larger patch."""
BATCH_SHARE = 0.05  # share of all voxels that a batch has at most (nnU-Net's rule)
VALIDATION_SHARE = 0.2
"""Share of an epoch's time that validation takes at most; it sets the length of an epoch."""


@dataclass(frozen=True)
class TrainingBudget:
    """Limits of a training: bytes (of the GPU's memory where there is one) and seconds (None: no limit)."""

    memory: int
    description: str
    seconds: float | None
    gpu: bool


@dataclass(frozen=True)
class TrainingPlan:
    """A config, the reasons of its settings by dotted key, and the estimated time and memory.

    `label_steps` are what all labels justify; the config lists no steps, as a run finds its own.
    """

    config: Config
    statistics: DatasetStats
    target: TargetGrid
    budget: TrainingBudget
    estimate: ResourceEstimate
    reasons: dict[str, str]
    label_steps: LabelSteps


def plan(options: PlanArguments) -> TrainingPlan:
    """Choose the largest network and patch of a kind that fit, by trials of some of them.

    Raises:
        UserError: no such dataset, no labels in it, or nothing that fits.
    """
    statistics = stats(options.data)
    scans = target_grid.trainable_scans(statistics)
    target = target_grid.choose_grid(scans)
    budget = _training_budget(options)
    base, reasons = _data_settings(options.data, statistics, scans, target)
    designs = candidate_designs(
        options.network,
        target.shape,
        target.spacing_mm,
        narrow=not budget.gpu,
        most=int(BATCH_SHARE * len(scans) * math.prod(target.shape)),
    )
    estimates: dict[int, ResourceEstimate] = {}

    def use(number: int) -> ResourceUse:
        estimate = _try_design(base, designs[number], options.data, budget)
        if estimate is None:
            return ResourceUse(math.inf)
        estimates[number] = estimate
        slow = 0.0 if budget.gpu else estimate.measurements.alone_seconds / STEP_SECONDS
        return ResourceUse(estimate.budgeted_memory / (ROOM * budget.memory), slow)

    number = largest_fitting([design.batch_voxels for design in designs], use)
    if number is None:
        raise UserError(_nothing_fits_message(designs[-1], budget, estimates.get(len(designs) - 1)))
    config, schedule = _schedule_settings(_design_config(base, designs[number]), estimates[number], budget)
    estimate = replace(estimates[number], config=config)
    full_scan = next(design.patch for design in designs if design.batch == BATCH)
    reasons |= _design_reasons(estimate, target, budget, shrunk=designs[number].patch != full_scan) | schedule
    label_steps = steps_by_labels(Dataset.load(options.data), {scan.name for scan in scans})
    return TrainingPlan(config, statistics, target, budget, estimate, reasons, label_steps)


def _try_design(
    base: Config, design: NetworkDesign, data: Path, budget: TrainingBudget
) -> ResourceEstimate | None:
    """The estimate of a design's time and memory; None: it takes too much memory."""
    limit = None if budget.gpu else budget.memory  # a GPU limits its memory itself
    try:
        estimate = estimate_resources(_design_config(base, design), data, limit=limit)
    except TrialTooLargeError:
        log.info("%s: more than %s", design, format_bytes(budget.memory))
        return None
    memory, seconds = format_bytes(estimate.budgeted_memory), estimate.measurements.step_seconds
    log.info("%s: %s, %.2g s a step", design, memory, seconds)
    return estimate


def _training_budget(options: PlanArguments) -> TrainingBudget:
    gpu = torch.cuda.is_available()
    free = int(torch.cuda.mem_get_info()[0]) if gpu else free_memory()
    where = "of the GPU's memory" if gpu else "of memory"
    memory, reason = options.max_memory, "as --max-memory says"
    if memory is None:
        memory, reason = free, "which is what is free"
    elif memory > free:
        log.info("note: only %s %s is free now", format_bytes(free), where)
    return TrainingBudget(memory, f"{format_bytes(memory)} {where}, {reason}", options.max_seconds, gpu)


def _design_config(base: Config, design: NetworkDesign) -> Config:
    """A config with the network, patch and batch of a design."""
    settings = base.train.model_copy(update={"patch": design.patch, "batch": design.batch})
    window = base.inference.model_copy(update={"window": design.patch})
    update = {"network": design.network, "train": settings, "inference": window}
    return validate_values(base.model_copy(update=update).to_values(), "plan")


def _data_settings(
    data: Path, statistics: DatasetStats, scans: Sequence[ScanStats], target: TargetGrid
) -> tuple[Config, dict[str, str]]:
    """A config with the settings that depend on the data alone, and their reasons."""
    values: dict[str, object] = {"spacing_mm": target.spacing_mm}
    intensity = "MR: percentiles of each scan's body become 0 and 1, as its values have no unit"
    if target_grid.is_ct(statistics):
        window = target_grid.ct_window(Dataset.load(data), scans)
        if window:
            values["intensity"], intensity = window[0].model_dump(), window[1]
    cases = len({scan.case for scan in scans})
    split = f"{cases} cases in {FOLDS} folds; a fifth is kept apart to validate on"
    if cases < FOLDS:
        values["split"] = "none"
        split = f"{cases} labelled case{'s' * (cases > 1)}, too few for {FOLDS} folds: no validation"
    reasons = {
        "data.spacing_mm": f"{target.reason} (nnU-Net's rule)",
        "data.intensity": intensity,
        "data.split": split,
    }
    return validate_values({"data": values}, "plan"), reasons


def _schedule_settings(
    config: Config, estimate: ResourceEstimate, budget: TrainingBudget
) -> tuple[Config, dict[str, str]]:
    """The config with the steps of an epoch and of the run, and their reasons."""
    step, validation, train = estimate.measurements.step_seconds, estimate.validation_seconds, config.train
    least = validation * (1 / VALIDATION_SHARE - 1) / step
    epoch = max(train.epoch_steps, math.ceil(least / 50) * 50)
    reasons = {
        "train.epoch_steps": f"validation and checkpoint take {validation:.1f} s, "
        f"{validation / (validation + epoch * step):.0%} of an epoch",
        "train.steps": "default; the learning rate follows --max-time where that ends sooner",
    }
    steps = train.steps
    if budget.seconds:
        alone = estimate.measurements.alone_seconds  # too many steps do no harm: --max-time ends them well
        steps = math.floor((budget.seconds - estimate.start_seconds) / (alone + validation / epoch))
        if steps < 1:
            raise UserError(
                f"--max-time: {budget.seconds:g} s are too few: the scans take "
                f"{estimate.start_seconds:.0f} s to load and a step {step:.2g} s; allow 10m or more"
            )
        epoch = min(epoch, steps)
        reasons["train.steps"] = f"what {budget.seconds / 60:g} min have room for, validation included"
    settings = train.model_copy(update={"steps": steps, "epoch_steps": epoch})
    return config.model_copy(update={"train": settings}), reasons


def _design_reasons(
    estimate: ResourceEstimate, target: TargetGrid, budget: TrainingBudget, *, shrunk: bool
) -> dict[str, str]:
    """The reasons of the network, its patch (`shrunk` below the median scan) and its batch."""
    median = format_size(target.shape)
    limits = "" if budget.gpu else f" into memory and {STEP_SECONDS:g} s a step"
    patch = f"the whole median scan, {median}, rounded up to the stride"
    if shrunk:
        patch = (
            f"from the median scan, {median}, shrunk until a batch of {BATCH} fits{limits}; "
            f"covers {estimate.patch_coverage:.0%} of it"
        )
    batch = "nnU-Net's least: smaller patches come before smaller batches"
    if estimate.config.train.batch > BATCH:
        batch = f"grown while it fits, to at most {BATCH_SHARE:.0%} of all voxels"
    width = "as nnU-Net's" if budget.gpu else "half as many channels as on a GPU, since this is a CPU"
    return {
        "network.name": "as --network says",
        "network.strides": "an axis is halved while it has 8 voxels or more and its spacing is less than "
        "twice the finest",
        "network.channels": f"doubled up to ten times the first; {width}",
        "network.filters": f"doubled from level to level; {width}",
        "network.blocks_down": "as many levels as the shortest axis of the patch can be halved",
        "network.feature_size": width,
        "train.patch": patch,
        "train.batch": batch,
        "inference.window": "as the patch",
    }


def _nothing_fits_message(
    smallest: NetworkDesign, budget: TrainingBudget, estimate: ResourceEstimate | None
) -> str:
    needs, least = f"takes more than {format_bytes(budget.memory)}", "allow more"
    if estimate:
        needs = (
            f"takes {format_bytes(estimate.budgeted_memory)}, "
            f"{format_bytes(estimate.scans.cached.all)} of it for the scans"
        )
        least = f"allow {format_bytes(estimate.budgeted_memory / ROOM)}"
    return (
        f"--max-memory: {format_bytes(budget.memory)} is too little: even {smallest} "
        f"{needs}; {least} or choose another --network"
    )
