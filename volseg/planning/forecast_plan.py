"""What `volseg plan` needs for a GPU that isn't here: its budget, and forecasts in place of trials."""

from pathlib import Path

from volseg.arguments import PlanArguments
from volseg.errors import UserError
from volseg.formatting import format_bytes
from volseg.planning.design_trials import Estimator, TrainingBudget
from volseg.planning.forecast import forecast_resources
from volseg.planning.forecast_gpus import Gpu, find_gpu


def find_gpu_elsewhere(options: PlanArguments) -> Gpu | None:
    """The GPU that `--gpu` names; None without it.

    Raises:
        UserError: no such GPU, or another device as well.
    """
    if options.gpu is None:
        return None
    if options.device is not None:
        raise UserError(
            f"--gpu {options.gpu}: plans for a GPU that isn't here, --device {options.device} for one that "
            "is; give one of them"
        )
    return find_gpu(options.gpu)


def forecast_budget(gpu: Gpu, options: PlanArguments) -> TrainingBudget:
    """The memory of a GPU, or what `--max-memory` allows of it, and the time.

    Raises:
        UserError: more memory than it has.
    """
    memory = options.max_memory or gpu.memory
    if memory > gpu.memory:
        raise UserError(
            f"--max-memory: {format_bytes(memory)} is more than {gpu} has; allow at most "
            f"{format_bytes(gpu.memory)}, or give the memory alone, --gpu {memory // 10**9}GB"
        )
    return TrainingBudget(memory, f"{format_bytes(memory)} of {gpu}", options.max_seconds, gpu=True)


def forecast_estimator(data: Path, gpu: Gpu) -> Estimator:
    """Forecasts for a GPU in the place of trials."""
    return lambda config, _: forecast_resources(config, data, gpu)
