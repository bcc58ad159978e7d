"""The time of training steps on a constant batch, for benchmarks/gpu.py."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from volseg.model.engines.torch_device import Device
from volseg.model.losses import DiceCE
from volseg.model.networks import Network
from volseg.model.optimizers import AdamW
from volseg.planning.trial_training import synchronize
from volseg.training import compilation
from volseg.training.loss_scale import LossScale
from volseg.training.moving_average import MovingAverage
from volseg.training.state import TrainingState
from volseg.training.step import Stepper

CLASSES = 3


@dataclass(frozen=True)
class Way:
    """How steps are computed: the device with its memory layout, the algorithms, and by which compiler."""

    device: Device
    deterministic: bool = False
    compiler: str | None = None


def time_way(section: Network, shape: tuple[int, ...], way: Way, *, steps: int) -> dict[str, Any]:
    """Milliseconds of a step for a batch of a shape (B, X, Y, Z), and seconds of the steps before.

    Those include the compiler and the search for the fastest convolutions.
    """
    torch.use_deterministic_algorithms(mode=way.deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not way.deterministic
    state, stepper = _training(section, way)
    batch, *size = shape
    image = torch.randn(batch, 1, *size, device=way.device.device)
    items = {"image": image, "label": (image > 1.3).repeat(1, CLASSES, 1, 1, 1).to(torch.uint8)}
    began = time.monotonic()
    for _ in range(min(3, steps)):
        stepper.step(state, items, 1e-3)
    synchronize(way.device.device)
    ready = time.monotonic()
    for _ in range(steps):
        stepper.step(state, items, 1e-3)
    stepper.finish()
    synchronize(way.device.device)
    ended = time.monotonic()
    return {"ms": round(1000 * (ended - ready) / steps, 1), "start s": round(ready - began, 1)}


def _training(section: Network, way: Way) -> tuple[TrainingState, Stepper]:
    network = way.device.place_network(section.build(1, CLASSES)).train()
    scale = LossScale(way.device.device, enabled=way.device.dtype == torch.float16)
    average = MovingAverage(network, 0.99)
    state = TrainingState(network, AdamW().build(network.parameters()), scale, average)
    compiled = None
    if way.compiler is not None:
        compilation.BACKEND = way.compiler
        compiled = compilation.compile_network(network)
    return state, Stepper(DiceCE(), False, way.device, clip=12.0, compiled=compiled)
