"""`volseg plan`: a config that suits a dataset and a machine, with the reason of each setting.

The rules are nnU-Net's (Isensee et al. 2021): `target_grid` has the finest grid, `network_design` networks
and patches. Whether a patch fits into memory is measured in a few training steps, or forecast for a
GPU that isn't here. `grid_choice` takes a coarser grid where the time or the memory on a finer one shows too
little of the scans.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from volseg.arguments import PlanArguments
from volseg.config.config import Config, validate_values
from volseg.data.dataset import Dataset
from volseg.data.splits import FOLDS
from volseg.errors import UserError
from volseg.formatting import format_bytes, format_size
from volseg.model.engines.device_selection import find_device, free_gpu_memory, warn_of_unused_gpu
from volseg.planning import target_grid
from volseg.planning.design_trials import STEP_SECONDS, DesignTrials, TrainingBudget, trial_estimator
from volseg.planning.forecast_plan import find_gpu_elsewhere, forecast_budget, forecast_estimator
from volseg.planning.grid_choice import GridOption
from volseg.planning.grid_search import GridChoice, GridSearch
from volseg.planning.network_design import BATCH, BATCH_SHARE
from volseg.planning.resource_estimate import ResourceEstimate
from volseg.planning.training_settings import choose_average
from volseg.postprocessing.label_steps import LabelSteps
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.scan_stats import ScanStats
from volseg.stats.stats import stats
from volseg.system.hardware import free_memory
from volseg.system.processes import run_in_subprocess
from volseg.training.label_parts import steps_by_labels
from volseg.training.validation_schedule import SHARE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPlan:
    """A config, the reasons of its settings by dotted key, and the estimated time and memory.

    `grids` are the grids that were compared, the chosen one with what was measured on it. `label_steps` are
    what all labels justify; the config lists no steps, as a run finds its own.
    """

    config: Config
    statistics: DatasetStats
    grids: GridChoice
    budget: TrainingBudget
    estimate: ResourceEstimate
    reasons: dict[str, str]
    label_steps: LabelSteps


def plan(options: PlanArguments) -> TrainingPlan:
    """Choose the largest network and patch of a kind that fit, by trials of some of them.

    Raises:
        UserError: no such dataset, no labels in it, or nothing that fits.
    """
    elsewhere = find_gpu_elsewhere(options)  # what is wrong is told before anything takes time
    if not elsewhere:
        find_device(options.device)
        warn_of_unused_gpu(options.device)
    statistics = stats(options.data)
    scans = target_grid.trainable_scans(statistics)
    budget = forecast_budget(elsewhere, options) if elsewhere else _training_budget(options)
    dataset = Dataset.load(options.data)
    base, reasons = _data_settings(dataset, statistics, scans)
    estimator = forecast_estimator(options.data, elsewhere) if elsewhere else trial_estimator(options, budget)
    trials = DesignTrials(estimator, options.network, budget)
    search = GridSearch(base, dataset, scans, options.network, trials)
    grids, estimate = search.choose()
    config, schedule = _schedule_settings(estimate.config, estimate, budget)
    estimate = replace(estimate, config=config)
    reasons |= search.reasons(grids) | _design_reasons(estimate, grids.chosen, budget) | schedule
    label_steps = steps_by_labels(dataset, {scan.name for scan in scans})
    return TrainingPlan(config, statistics, grids, budget, estimate, reasons, label_steps)


def _training_budget(options: PlanArguments) -> TrainingBudget:
    device = find_device(options.device)
    gpu = device.type == "cuda"
    free = run_in_subprocess(free_gpu_memory, device) if gpu else free_memory()
    where = "of the GPU's memory" if gpu else "of memory"
    memory, reason = options.max_memory, "as --max-memory says"
    if memory is None:
        memory, reason = free, "which is what is free"
    elif memory > free:
        log.info("note: only %s %s is free now", format_bytes(free), where)
    return TrainingBudget(memory, f"{format_bytes(memory)} {where}, {reason}", options.max_seconds, gpu)


def _data_settings(
    dataset: Dataset, statistics: DatasetStats, scans: Sequence[ScanStats]
) -> tuple[Config, dict[str, str]]:
    """A config with the settings that depend on the data alone, and their reasons."""
    values: dict[str, object] = {}
    intensity = "MR: percentiles of each scan's body become 0 and 1, as its values have no unit"
    if target_grid.is_ct(statistics):
        window = target_grid.ct_window(dataset, scans)
        if window:
            values["intensity"], intensity = window[0].model_dump(), window[1]
    cases = len({scan.case for scan in scans})
    split = f"{cases} cases in {FOLDS} folds; a fifth is kept apart to validate on"
    if cases < FOLDS:
        values["split"] = "none"
        split = f"{cases} labelled case{'s' * (cases > 1)}, too few for {FOLDS} folds: no validation"
    reasons = {"data.intensity": intensity, "data.split": split}
    return validate_values({"data": values}, "plan"), reasons


def _schedule_settings(
    config: Config, estimate: ResourceEstimate, budget: TrainingBudget
) -> tuple[Config, dict[str, str]]:
    """The config with the steps of the run, and their reason and that of the open time of validation."""
    alone = estimate.measurements.alone_seconds  # too many steps do no harm: --max-time ends them well
    room = (budget.seconds or 0.0) - estimate.start_seconds
    if budget.seconds:  # so that the config's own steps don't limit those of an epoch
        config = _with_steps(config, max(1, math.floor(room / alone)), {})
    estimate = replace(estimate, config=config)
    validation, epoch = estimate.validation_seconds, estimate.epoch_steps
    reasons = {
        "train.epoch_steps": f"null: as often as takes {SHARE:.0%} of the time at most; validation and "
        f"checkpoint take {validation:.1f} s, so about every {epoch} steps",
        "train.steps": "default; the learning rate follows --max-time where that ends sooner",
    }
    if not budget.seconds:
        return _with_steps(config, config.train.steps, reasons), reasons
    steps = math.floor(room / (alone + validation / epoch))
    if steps < 1:
        raise UserError(
            f"--max-time: {budget.seconds:g} s are too few: the scans take "
            f"{estimate.start_seconds:.0f} s to load and a step {estimate.measurements.step_seconds:.2g} s; "
            "allow 10m or more"
        )
    reasons["train.steps"] = f"what {budget.seconds / 60:g} min have room for, validation included"
    return _with_steps(config, steps, reasons), reasons


def _with_steps(config: Config, steps: int, reasons: dict[str, str]) -> Config:
    """The config with so many steps and the average that suits them, whose reason is added."""
    ema, reasons["train.ema"] = choose_average(steps)
    return config.model_copy(update={"train": config.train.model_copy(update={"steps": steps, "ema": ema})})


def _design_reasons(estimate: ResourceEstimate, chosen: GridOption, budget: TrainingBudget) -> dict[str, str]:
    """The reasons of the network, its patch and its batch."""
    shape = chosen.grid.shape
    median = format_size(shape)
    limits = "" if budget.gpu else f" into memory and {STEP_SECONDS:g} s a step"
    patch = f"the whole median scan, {median}, rounded up to the stride"
    if any(n < whole for n, whole in zip(estimate.config.train.patch, shape, strict=True)):
        patch = (
            f"from the median scan, {median}, shrunk until a batch of {BATCH} fits{limits}; "
            f"covers {chosen.coverage:.0%} of it"
        )
    batch = "nnU-Net's least: smaller patches come before smaller batches"
    if not budget.gpu:
        batch = "nnU-Net's least: on a CPU more steps learn more than larger batches"
    if estimate.config.train.batch > BATCH:
        batch = f"grown while it fits, to at most {BATCH_SHARE:.0%} of all voxels"
    width = "as nnU-Net's" if budget.gpu else "half as many channels as on a GPU, since this is a CPU"
    return {
        "network.name": "as --network says",
        "network.strides": "an axis is halved while it has 8 voxels or more and its spacing is less than "
        "twice the finest",
        "network.kernels": "1 along an axis as long as its spacing is twice the finest or more",
        "network.channels": f"doubled up to ten times the first; {width}",
        "network.filters": f"doubled from level to level; {width}",
        "network.blocks_down": "as many levels as the shortest axis of the patch can be halved",
        "network.feature_size": width,
        "train.patch": patch,
        "train.batch": batch,
        "inference.window": "as the patch",
    }
