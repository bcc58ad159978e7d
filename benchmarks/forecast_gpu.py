"""Is the forecast for GPUs that are not here true? Against real tensors on a CPU, and nnU-Net's figures.

    .venv/bin/python benchmarks/forecast_gpu.py [tensors | nnunet]

tensors: a step of each kind of network, in float32, on the meta device and on this processor. Counted are the
bytes that live at once at the peak, which should be the same (but where a network computes otherwise on a
CPU: instance norms, attention), and the peak of the process's memory is measured beside them.
nnunet: memory and hours on an A100 of 40 GB of networks whose figures nnU-Net's authors report (its
documentation/resenc_presets.md), 1000 epochs of 250 batches and 50 of forward passes. Their patches are not
told there, nor the classes (14 here): those of ResEnc L and XL here fill the memory that they report.
"""

import gc
import sys
from pathlib import Path

import torch

from volseg.config.config import Config, validate_values
from volseg.model.networks import Network
from volseg.planning.forecast import gpu_bytes, gpu_seconds
from volseg.planning.forecast_gpus import find_gpu
from volseg.planning.forecast_step import META, StepInput, forecast_step, record_step
from volseg.schema import union_members
from volseg.system.hardware import peak_memory

PATCH = (64, 64, 64)
BATCHES = 1000 * (250 + 50 / 3)
STRIDES = [2] * 5
PLAIN = {
    "name": "dynunet",
    "filters": [32, 64, 128, 256, 320, 320],
    "strides": STRIDES,
    "deep_supervision": True,
}
RESENC = {"name": "resenc", "strides": STRIDES}
REPORTED = {
    "plain": (PLAIN, (128, 128, 128), 7.7, 9),
    "ResEnc L": (RESENC, (160, 192, 160), 22.7, 35),
    "ResEnc XL": (RESENC, (192, 224, 192), 36.6, 66),
    "MedNeXt L": ({"name": "mednext", "size": "L"}, (128, 128, 128), 17.3, 68),
}


def main(part: str) -> None:
    """Print the tables that are asked for."""
    if part in ("", "tensors"):
        for name in union_members(Network):
            print(tensors_line(name), flush=True)
    if part in ("", "nnunet"):
        for name, reported in REPORTED.items():
            print(nnunet_line(name, *reported), flush=True)


def tensors_line(name: str) -> str:
    """Peaks of a step of a network, in MB: forecast, real tensors, and the process."""
    settings = config({"name": name}, PATCH, batch=1)
    given = StepInput(1, 3, exclusive=False, dtype=torch.float32)
    meta = record_step(settings, given, settings.network.build(1, 3), META).peak
    network = settings.network.build(1, 3)
    gc.collect()
    clear_peak()
    before = peak_memory()
    real = record_step(settings, given, network, torch.device("cpu")).peak
    process = peak_memory() - before
    told = (f"{value / 1e6:8.0f}" for value in (meta, real, process))
    return f"{name:10} MB: meta, real, process {' '.join(told)}; meta / real {meta / real:.3f}"


def clear_peak() -> None:
    """Let Linux count the peak of this process's memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def nnunet_line(
    name: str, network: dict[str, object], patch: tuple[int, int, int], gb: float, hours: int
) -> str:
    """What is reported of a network beside its forecast."""
    settings, gpu = config(network, patch, batch=2), find_gpu("A100 40GB")
    step = forecast_step(settings, StepInput(1, 14, exclusive=True, dtype=torch.float16))
    told = gpu_seconds(step, settings, gpu, half=True) * BATCHES / 3600
    memory = gpu_bytes(step, settings) / 1e9
    return f"{name:10} reported {gb:5.1f} GB {hours:3} h, forecast {memory:5.1f} GB {told:3.0f} h"


def config(network: dict[str, object], patch: tuple[int, int, int], *, batch: int) -> Config:
    """A config of this network and patch, without an average of the weights."""
    train = {"patch": patch, "batch": batch, "ema": 0.0}
    return validate_values({"network": network, "train": train}, "forecast_gpu")


if __name__ == "__main__":
    main(*(sys.argv[1:] or [""]))
