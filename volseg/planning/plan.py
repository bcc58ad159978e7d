"""`volseg plan`: a config that suits a dataset and a machine, with the reason of each choice.

The rules are nnU-Net's (Isensee et al. 2021): the grid in `data/target.py`, networks and patches in
`model/design.py`. Whether a patch fits is measured, by a few steps of training itself.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from volseg.config.config import Config, validate_values
from volseg.data.dataset import Dataset
from volseg.data.splits import FOLDS
from volseg.errors import UserError
from volseg.formatting import format_bytes, format_size
from volseg.planning import target_grid as targets
from volseg.planning.design_search import ResourceUse, largest_fitting
from volseg.planning.network_design import BATCH, Kind, NetworkDesign, candidate_designs
from volseg.planning.resource_estimate import ResourceEstimate, TrialTooLargeError, estimate_resources
from volseg.planning.target_grid import TargetGrid
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.scan_stats import ScanStats
from volseg.stats.stats import stats
from volseg.system.hardware import free_memory

log = logging.getLogger(__name__)
ROOM = 0.9
"""Share of the memory that may be used; the rest is for what a few steps do not show."""
STEP_SECONDS = 1.0
"""How long a step may take on a CPU, with nothing else at work: more steps are worth more there."""
BATCH_SHARE = 0.05
"""A batch has no more than this share of all voxels (nnU-Net's rule)."""
VALIDATION_SHARE = 0.2
"""An epoch is so long that its validation takes no more than this share of it."""


@dataclass(frozen=True)
class TrainingBudget:
    """What training may take: bytes (of the GPU's memory where there is one), and seconds for all of it."""

    memory: int
    description: str
    seconds: float | None
    gpu: bool


@dataclass
class TrainingPlan:
    """A config, why its settings are as they are (by dotted key), and what it will take."""

    config: Config
    statistics: DatasetStats
    target: TargetGrid
    budget: TrainingBudget
    estimate: ResourceEstimate
    reasons: dict[str, str] = field(default_factory=dict)


def plan(data: Path, kind: Kind, *, max_memory: int | None, max_seconds: float | None) -> TrainingPlan:
    """Choose the largest network and patch of a kind that fit; try some of them to see.

    Raises:
        UserError: no such dataset, no labels in it, or nothing that fits.
    """
    found = stats(data)
    scans = targets.trainable_scans(found)
    target = targets.choose_grid(scans)
    budget = _training_budget(max_memory, max_seconds)
    base, reasons = _data_settings(data, found, scans, target)
    most = int(BATCH_SHARE * len(scans) * math.prod(target.shape))
    narrow = not budget.gpu
    rungs = candidate_designs(kind, target.shape, target.spacing_mm, narrow=narrow, most=most)
    tried: dict[int, ResourceEstimate] = {}

    def use(number: int) -> ResourceUse:
        try:
            one = estimate_resources(_design_config(base, rungs[number]), data, limit=_trial_limit(budget))
        except TrialTooLargeError:
            log.info("%s: more than %s", _format_batch(rungs[number]), format_bytes(budget.memory))
            return ResourceUse(math.inf)
        tried[number] = one
        log.info(
            "%s: %s, %.2g s a step",
            _format_batch(rungs[number]),
            format_bytes(one.budgeted_memory),
            one.measurements.step_seconds,
        )
        slow = 0.0 if budget.gpu else one.measurements.alone_seconds / STEP_SECONDS
        return ResourceUse(one.budgeted_memory / (ROOM * budget.memory), slow)

    number = largest_fitting([rung.batch_voxels for rung in rungs], use)
    if number is None:
        raise UserError(_nothing_fits_message(rungs[-1], budget, tried.get(len(rungs) - 1)))
    told = tried[number]
    config, course = _schedule_settings(_design_config(base, rungs[number]), told, budget)
    reasons |= _design_reasons(rungs, number, target, told, budget) | course
    return TrainingPlan(config, found, target, budget, replace(told, config=config), reasons)


def _training_budget(allowed: int | None, seconds: float | None) -> TrainingBudget:
    gpu = torch.cuda.is_available()
    free = int(torch.cuda.mem_get_info()[0]) if gpu else free_memory()
    where = "of the GPU's memory" if gpu else "of memory"
    if allowed is None:
        return TrainingBudget(free, f"{format_bytes(free)} {where}, which is what is free", seconds, gpu)
    if allowed > free:
        log.info("note: only %s %s is free now", format_bytes(free), where)
    return TrainingBudget(allowed, f"{format_bytes(allowed)} {where}, as --max-memory says", seconds, gpu)


def _trial_limit(budget: TrainingBudget) -> int | None:
    """Where a trial is broken off: what a GPU holds is its own matter."""
    return None if budget.gpu else budget.memory


def _design_config(base: Config, design: NetworkDesign) -> Config:
    """A design in a config."""
    course = base.train.model_copy(update={"patch": design.patch, "batch": design.batch})
    window = base.inference.model_copy(update={"window": design.patch})
    update = {"network": design.network, "train": course, "inference": window}
    return validate_values(base.model_copy(update=update).model_dump(), "plan")


def _data_settings(
    data: Path, found: DatasetStats, scans: Sequence[ScanStats], target: TargetGrid
) -> tuple[Config, dict[str, str]]:
    """The settings that only depend on the data, and their reasons."""
    values: dict[str, object] = {"spacing_mm": target.spacing_mm}
    intensity = "MR: percentiles of each scan's body become 0 and 1, as its values have no unit"
    if targets.is_ct(found):
        window = targets.ct_window(Dataset.load(data), scans)
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
    config: Config, told: ResourceEstimate, budget: TrainingBudget
) -> tuple[Config, dict[str, str]]:
    """How many steps an epoch and the run have."""
    step, between, train = told.measurements.step_seconds, told.validation_seconds, config.train
    least = between * (1 / VALIDATION_SHARE - 1) / step
    epoch = max(train.epoch_steps, math.ceil(least / 50) * 50)
    reasons = {
        "train.epoch_steps": f"validation and checkpoint take {between:.1f} s, "
        f"{between / (between + epoch * step):.0%} of an epoch",
        "train.steps": "default; the learning rate follows --max-time where that ends sooner",
    }
    steps = train.steps
    if budget.seconds:
        alone = told.measurements.alone_seconds  # too many steps do no harm: --max-time ends them well
        steps = math.floor((budget.seconds - told.start_seconds) / (alone + between / epoch))
        if steps < 1:
            raise UserError(
                f"--max-time: {budget.seconds:g} s are too few: the scans take "
                f"{told.start_seconds:.0f} s to load and a step {step:.2g} s; allow 10m or more"
            )
        epoch = min(epoch, steps)
        reasons["train.steps"] = f"what {budget.seconds / 60:g} min have room for, validation included"
    course = train.model_copy(update={"steps": steps, "epoch_steps": epoch})
    return config.model_copy(update={"train": course}), reasons


def _design_reasons(
    rungs: Sequence[NetworkDesign],
    number: int,
    target: TargetGrid,
    told: ResourceEstimate,
    budget: TrainingBudget,
) -> dict[str, str]:
    """Why the network, its patch and its batch are these."""
    chosen = rungs[number]
    whole = next(rung.patch for rung in rungs if rung.batch == BATCH)
    median = format_size(target.shape)
    into = "" if budget.gpu else f" into memory and {STEP_SECONDS:g} s a step"
    patch = f"the whole median scan, {median}, rounded up to the stride"
    if chosen.patch != whole:
        patch = (
            f"from the median scan, {median}, shrunk until a batch of {BATCH} fits{into}; "
            f"covers {told.patch_coverage:.0%} of it"
        )
    batch = "nnU-Net's least: smaller patches come before smaller batches"
    if chosen.batch > BATCH:
        batch = f"grown while it fits, to at most {BATCH_SHARE:.0%} of all voxels"
    width = "half as many channels as on a GPU, since this is a CPU" if not budget.gpu else "as nnU-Net's"
    steps = "an axis is halved while it has 8 voxels or more and its spacing is less than twice the finest"
    return {
        "network.name": "as --network says",
        "network.strides": steps,
        "network.channels": f"doubled up to ten times the first; {width}",
        "network.filters": f"doubled from level to level; {width}",
        "network.blocks_down": "as many levels as the shortest axis of the patch can be halved",
        "network.feature_size": width,
        "train.patch": patch,
        "train.batch": batch,
        "inference.window": "as the patch",
    }


def _nothing_fits_message(
    smallest: NetworkDesign, budget: TrainingBudget, told: ResourceEstimate | None
) -> str:
    needs = (
        f"takes {format_bytes(told.budgeted_memory)}"
        if told
        else f"takes more than {format_bytes(budget.memory)}"
    )
    cached = f", {format_bytes(told.scans.cached.all)} of it for the scans" if told else ""
    least = f"allow {format_bytes(told.budgeted_memory / ROOM)}" if told else "allow more"
    return (
        f"--max-memory: {format_bytes(budget.memory)} is too little: even {_format_batch(smallest)} "
        f"{needs}{cached}; {least} or choose another --network"
    )


def _format_batch(design: NetworkDesign) -> str:
    return f"{design.batch} x {format_size(design.patch)}"
