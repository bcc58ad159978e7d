"""One step of training: a batch forward and back, and the weights moved."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from volseg.model.device import Device
from volseg.model.losses import Loss
from volseg.model.state import State


class NotFiniteError(ArithmeticError):
    """A loss or gradient that is no number. `what` names it; the weights are those it came from."""

    def __init__(self, what: str, value: float) -> None:
        super().__init__(f"the {what} is {value}")


@dataclass(frozen=True)
class Stepper:
    """How a batch moves the weights.

    `parts`: the batch is taken in so many parts whose gradients add up, so that a large batch fits
    into little memory. `clip` is the largest norm of the gradient.
    """

    loss: Loss
    exclusive: bool
    device: Device
    clip: float
    parts: int = 1

    def step(self, state: State, batch: dict[str, Any], rate: float) -> float:
        """Move the weights by a batch (`image` (B, C, X, Y, Z), `label` (B, K, X, Y, Z)); its loss.

        Raises:
            NotFiniteError: the loss or its gradient is no number; the weights have not moved.
        """
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.zero_grad(set_to_none=True)
        value = self._backward(state, batch)
        state.scaler.unscale_(state.optimizer)
        norm = clip_grad_norm_(state.network.parameters(), self.clip)
        if not (state.scaler.is_enabled() or torch.isfinite(norm)):
            raise NotFiniteError("gradient", float(norm))
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.average is not None:
            state.average.update_parameters(state.network)
        return value

    def _backward(self, state: State, batch: dict[str, Any]) -> float:
        value, size = 0.0, len(batch["image"])
        images, labels = batch["image"].chunk(self.parts), batch["label"].chunk(self.parts)
        for image, label in zip(images, labels, strict=True):
            loss = self._loss(state, image, label) * (len(image) / size)
            value += float(loss.detach())
            if not math.isfinite(value):
                raise NotFiniteError("loss", value)
            state.scaler.scale(loss).backward()
        return value

    def _loss(self, state: State, image: Tensor, label: Tensor) -> Tensor:
        with self.device.autocast():
            logits = state.network(self.device.send(image))
        truth = label.to(self.device.device, non_blocking=True)
        return self.loss(logits, truth, exclusive=self.exclusive)
