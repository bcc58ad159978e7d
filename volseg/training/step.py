"""A training step: loss and gradient of a batch, and the update of the weights."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from volseg.model.engines.torch_device import Device
from volseg.model.losses import Loss
from volseg.training.state import TrainingState


class NotFiniteError(ArithmeticError):
    """A loss or gradient (`what`) that is no number; the weights are those before the step."""

    def __init__(self, what: str, value: float) -> None:
        super().__init__(f"the {what} is {value}")


@dataclass(frozen=True)
class Stepper:
    """The update of the weights by a batch.

    `parts`: numbers of patches in the parts of the batch, whose gradients are accumulated, so that a
    large batch fits into little memory (None: one part). `clip` is the largest norm of the gradient.
    With several ranks, `shared` is the state's network with gradients averaged over the ranks; a batch
    is then this rank's share, and loss and gradient are those of all shares together.
    """

    loss: Loss
    exclusive: bool
    device: Device
    clip: float
    parts: Sequence[int] | None = None
    shared: DistributedDataParallel | None = None

    def step(self, state: TrainingState, batch: dict[str, Any], rate: float) -> float:
        """Update the weights by a batch: `image` (B, C, X, Y, Z), `label` (B, K, X, Y, Z); return the loss.

        Raises:
            NotFiniteError: the loss or its gradient is no number; the weights are not changed.
        """
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.zero_grad(set_to_none=True)
        value = self._accumulate_gradients(state, batch)
        state.scaler.unscale_(state.optimizer)
        norm = clip_grad_norm_(state.network.parameters(), self.clip)
        if not (state.scaler.is_enabled() or torch.isfinite(norm)):
            raise NotFiniteError("gradient", float(norm))
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.average is not None:
            state.average.update_parameters(state.network)
        return value

    def _accumulate_gradients(self, state: TrainingState, batch: dict[str, Any]) -> float:
        value, sizes = 0.0, list(self.parts or [len(batch["image"])])
        images, labels = batch["image"].split(sizes), batch["label"].split(sizes)
        for number, (image, label) in enumerate(zip(images, labels, strict=True), 1):
            with self._gradient_sync(last=number == len(sizes)):
                loss = self._compute_loss(state, image, label) / len(sizes)
                value += float(loss.detach())
                if not math.isfinite(value):
                    raise NotFiniteError("loss", value)
                state.scaler.scale(loss).backward()
        return value

    def _gradient_sync(self, *, last: bool) -> AbstractContextManager[None]:
        """The context in which ranks exchange gradients only with the last part."""
        return nullcontext() if last or self.shared is None else self.shared.no_sync()

    def _compute_loss(self, state: TrainingState, image: Tensor, label: Tensor) -> Tensor:
        network = state.network if self.shared is None else self.shared
        with self.device.autocast():
            logits = network(self.device.send_batch(image))
        labels = label.to(self.device.device, non_blocking=True)
        return self.loss(logits, labels, exclusive=self.exclusive)
