"""What the recipes take on GPUs that aren't here: a forecast, nothing of it measured on them.

    .venv/bin/python benchmarks/recipes.py [CONFIG ...]        # by default all of configs/ but the demo

A line a config for its first lines, and one with the parameters, the work and the bytes of a step, of one
channel and three classes that may overlap. Memory is that of the GPU at the peak; scans come on top where a
quarter of it holds all of them. Hours are those of all steps: the fewer without validation, the more with
validation in 15 % of the time, the most that it takes where `train.epoch_steps` is open.
"""

import sys
from pathlib import Path

from volseg.config import config
from volseg.config.config import Config
from volseg.model.engines.torch_device import TYPES
from volseg.planning.forecast import gpu_bytes, gpu_seconds
from volseg.planning.forecast_gpus import Gpu, find_gpu
from volseg.planning.forecast_step import StepForecast, StepInput, forecast_step
from volseg.training.validation_schedule import SHARE

NAMES = ("T4", "4090", "A100")


def main(files: list[str]) -> None:
    """Print the lines of each config."""
    known = sorted(str(path) for path in Path("configs").glob("*.yaml") if path.stem != "demo")
    for file in files or known:
        settings = config.load(Path(file))
        steps = {precision: forecast(settings, precision) for precision in ("fp16", "bf16")}
        one = steps["bf16"]
        print(f"{file}: {one.parameters / 1e6:.1f} M weights, {one.flops / 1e12:.2f} TFLOP a step")
        gpus = {name: find_gpu(name) for name in NAMES}
        parts = (f"{name} {gpu_text(settings, steps[gpu.precision], gpu)}" for name, gpu in gpus.items())
        print(f"# Forecast, not measured: {'; '.join(parts)}.", flush=True)


def forecast(settings: Config, precision: str) -> StepForecast:
    """The forecast of a step in this precision, unless the config sets one."""
    chosen = precision if settings.train.precision == "auto" else settings.train.precision
    return forecast_step(settings, StepInput(1, 3, exclusive=False, dtype=TYPES[chosen]))


def gpu_text(settings: Config, step: StepForecast, gpu: Gpu) -> str:
    """The memory and hours of a run on a GPU."""
    memory = gpu_bytes(step, settings)
    seconds = gpu_seconds(step, settings, gpu, half=settings.train.precision != "fp32")
    hours = seconds * settings.train.steps / 3600
    needs = f"{memory / 1e9:.2g} GB" if memory <= gpu.memory else f"needs {memory / 1e9:.0f} GB, too much"
    return f"{needs}, {hours:.2g}-{hours / (1 - SHARE):.2g} h"


if __name__ == "__main__":
    main(sys.argv[1:])
