"""The memory and work of a training step on a GPU, found on the meta device, where nothing is computed."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from volseg.config.config import Config
from volseg.model.engines.torch_device import Device, fastest_layout
from volseg.model.networks.deep_supervision import level_weights
from volseg.model.optimizers import OptimizerChoice
from volseg.planning.forecast_recorder import Operation, OperationRecorder, recorded, tensor_bytes
from volseg.training.loss_scale import LossScale
from volseg.training.state import TrainingState
from volseg.training.step import Stepper

META = torch.device("meta")


@dataclass(frozen=True)
class StepForecast:
    """The bytes and operations of a training step.

    `weights` are bytes of weights and buffers, `kept` those of all that stays from step to step (weights,
    their average, the optimizer's means), `peak` the most that lives during a step, with it and the batch.
    `workspace` is what the convolution that moves the most moves: cuDNN may turn all of it into the order
    that suits its kernels, which nothing here can see.
    """

    parameters: int
    weights: int
    batch: int
    kept: int
    peak: int
    workspace: int
    operations: tuple[Operation, ...]

    @property
    def flops(self) -> int:
        """Multiplications and additions of a step, forward and backward."""
        return sum(operation.flops for operation in self.operations)


@dataclass(frozen=True)
class StepInput:
    """What a step gets besides the config: channels, classes (exclusive or not) and a convolution's type."""

    channels: int
    classes: int
    exclusive: bool
    dtype: torch.dtype


class UncastDevice(Device):
    """A device in the place of a GPU on which the recorder casts, not torch's autocast."""

    def autocast(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Nothing."""
        return nullcontext()


def forecast_step(config: Config, given: StepInput) -> StepForecast:
    """The forecast of a training step on a GPU, of a network as it is built."""
    network = config.network.build(given.channels, given.classes)
    recorder = record_step(config, given, network, META)
    weights = tensor_bytes(network)
    kept = weights * (1 + bool(config.train.ema) + optimizer_means(config.optimizer))
    size = math.prod((config.train.batch, *config.train.patch))
    return StepForecast(
        parameters=sum(weight.numel() for weight in network.parameters()),
        weights=weights,
        batch=size * (4 * given.channels + given.classes),
        kept=kept,
        peak=kept + recorder.peak,
        workspace=max((one.moved for one in recorder.operations if one.groups), default=0),
        operations=tuple(recorder.operations),
    )


def record_step(
    config: Config, given: StepInput, network: nn.Module, place: torch.device
) -> OperationRecorder:
    """A record of the loss and the gradients of a batch, made of a network that is moved to a device.

    The stepper of training does it, with its loss, its parts of a batch and the network's checkpoints, so
    that tensors live as long as in training. Weights are not in it, the batch and gradients are.
    """
    device = UncastDevice(place, given.dtype, fastest_layout("cuda", network))
    network = device.place_network(network)
    train = config.train
    parts = (train.batch // train.accumulate,) * train.accumulate
    levels = level_weights(config.network)
    stepper = Stepper(config.loss, given.exclusive, device, train.clip, parts, level_weights=levels)
    idle = torch.optim.SGD(network.parameters())
    state = TrainingState(network, idle, LossScale(place, enabled=given.dtype == torch.float16))
    with recorded(given.dtype) as recorder:
        image = torch.zeros((train.batch, given.channels, *train.patch), device=place)
        label = torch.zeros((train.batch, given.classes, *train.patch), dtype=torch.uint8, device=place)
        stepper.accumulate_gradients(state, {"image": image, "label": label})
    return recorder


def optimizer_means(optimizer: OptimizerChoice) -> int:
    """The number of values that an optimizer keeps for each weight; found by a step of a few weights."""
    weights = nn.Parameter(torch.zeros(8))
    weights.grad = torch.zeros(8)
    built = optimizer.build([weights])
    built.step()
    return sum(value.numel() == weights.numel() for value in built.state[weights].values())
