"""A training step: loss and gradient of a batch, and the update of the weights.

A step only launches work: nothing is read from the device until the next step is launched, so a GPU never
waits for the processor. Whether a loss was a number is decided on the device.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from volseg.model.engines.torch_device import Device
from volseg.model.losses import Loss
from volseg.model.losses.levels import loss_of_levels
from volseg.training.compilation import compile_errors
from volseg.training.loading.device_batches import TENSORS
from volseg.training.loss_scale import LEAST
from volseg.training.state import TrainingState
from volseg.training.taught_loss import TaughtLoss, join_targets


@dataclass(frozen=True)
class StepResult:
    """The loss of a step, and the number of steps that are done with it."""

    done: int
    loss: float


@dataclass(frozen=True)
class LaunchedStep:
    """A step that the device may still be at: the steps done before it, its batch and learning rate.

    `figures` are on their way to the processor: the loss, the norm of the gradient, the scale of the loss,
    and 1 if training can't go on. They have come when `arrival` says so (None: they were never away).
    """

    number: int
    batch: dict[str, Any]
    rate: float
    figures: Tensor
    arrival: torch.Event | None

    @classmethod
    def launch(cls, number: int, batch: dict[str, Any], rate: float, figures: Tensor) -> "LaunchedStep":
        """The step with its figures sent off, all that was launched on their device before included."""
        arrival = None
        on_processor = figures.to("cpu", non_blocking=True)
        if figures.device.type != "cpu":
            arrival = torch.Event(figures.device)
            arrival.record()
        return cls(number, batch, rate, on_processor, arrival)

    def result(self) -> StepResult:
        """Wait for the step; return its result.

        Raises:
            NotFiniteError: training can't go on.
        """
        if self.arrival is not None:
            self.arrival.synchronize()
        loss, norm, scale, halted = self.figures.tolist()
        if halted:
            raise NotFiniteError(self, loss=loss, norm=norm, scale=scale)
        return StepResult(self.number + 1, loss)


class NotFiniteError(ArithmeticError):
    """A step (`step`) whose loss or gradient is no number, or with too low a loss scale.

    The weights are those before the step.
    """

    def __init__(self, step: LaunchedStep, *, loss: float, norm: float, scale: float) -> None:
        self.step = step
        self.low_scale = scale < LEAST
        if self.low_scale:
            super().__init__(f"the loss scale of float16 has fallen to {scale}")
        elif math.isfinite(loss):
            super().__init__(f"the gradient is {norm}")
        else:
            super().__init__(f"the loss is {loss}")


@dataclass
class Stepper:
    """The update of the weights by a batch.

    `parts`: numbers of patches in the parts of the batch, whose gradients are accumulated, so that a
    large batch fits into little memory (None: one part). `clip` is the largest norm of the gradient.
    `level_weights` are the weights of the levels of a network with deep supervision, finest first (None:
    halved from one to the next), `teacher_weight` is a teacher's share of the loss. With several ranks,
    `shared` is the state's network with gradients averaged over the ranks; a batch is then this rank's share,
    and loss and gradient are those of all shares together. `compiled` is what torch.compile makes of the
    network, or of `shared`, with the same weights.
    """

    loss: Loss
    exclusive: bool
    device: Device
    clip: float
    parts: Sequence[int] | None = None
    level_weights: Sequence[float] | None = None
    teacher_weight: float = 0.0
    shared: DistributedDataParallel | None = None
    compiled: nn.Module | None = None
    _launched: LaunchedStep | None = field(default=None, init=False)
    _halted: Tensor | None = field(default=None, init=False)

    def step(self, state: TrainingState, batch: dict[str, Any], rate: float) -> StepResult | None:
        """Launch the update by a batch: `image` (B, C, X, Y, Z), `label` (B, K, X, Y, Z).

        If it has `teacher` and `taught` (see BatchCutter), it learns from these as well.
        Returns the result of the step launched before; None of the first.

        Raises:
            NotFiniteError: the loss or gradient of the step before is no number. Neither that step nor
                this one has changed the weights. In float16 such a step changes nothing either, and
                training goes on with a lower loss scale, until that is too low.
        """
        before, self._launched = self._launched, self._launch(state, batch, rate)
        return None if before is None else before.result()

    def finish(self) -> StepResult | None:
        """Wait for the last step that was launched; return its result, or None if that was had before.

        Raises:
            NotFiniteError: as in `step`.
        """
        before, self._launched = self._launched, None
        return None if before is None else before.result()

    def _launch(self, state: TrainingState, batch: dict[str, Any], rate: float) -> LaunchedStep:
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.zero_grad(set_to_none=True)
        statistics = _running_statistics(state.network)
        before = [value.clone() for value in statistics]
        with nullcontext() if self.compiled is None else compile_errors():
            loss = self.accumulate_gradients(state, batch)
        state.loss_scale.unscale_gradients(state.network)
        norm = clip_grad_norm_(state.network.parameters(), self.clip)
        unusable = ~(torch.isfinite(loss) & torch.isfinite(norm))
        halted = self._halt_for_ever(state.loss_scale.update(unusable))
        skipped = unusable | halted
        state.optimizer.found_inf = skipped.float()  # type: ignore[attr-defined]
        state.optimizer.step()
        for value, old in zip(statistics, before, strict=True):
            value.copy_(torch.where(skipped, old, value))
        if state.average is not None:
            state.average.update(state.network, (~skipped).float())
        figures = torch.stack([loss, norm, state.loss_scale.factor, halted.float()])
        return LaunchedStep.launch(state.step, batch, rate, figures)

    def _halt_for_ever(self, now: Tensor) -> Tensor:
        """Whether training must end, now or since a step before, of which the processor may not know yet."""
        self._halted = now if self._halted is None else self._halted | now
        return self._halted

    def accumulate_gradients(self, state: TrainingState, batch: dict[str, Any]) -> Tensor:
        """Set the scaled gradients of the weights; return the loss, a scalar on the device."""
        losses, sizes = [], list(self.parts or [len(batch["image"])])
        names = [name for name in TENSORS if name in batch]
        parts = zip(*(batch[name].split(sizes) for name in names), strict=True)
        for number, tensors in enumerate(parts, 1):
            with self._gradient_sync(last=number == len(sizes)):
                loss = self._compute_loss(state, **dict(zip(names, tensors, strict=True))) / len(sizes)
                losses.append(loss.detach())
                torch.autograd.backward(state.loss_scale.scale(loss))
        return torch.stack(losses).sum()

    def _gradient_sync(self, *, last: bool) -> AbstractContextManager[None]:
        """The context in which ranks exchange gradients only with the last part."""
        return nullcontext() if last or self.shared is None else self.shared.no_sync()

    def _compute_loss(
        self,
        state: TrainingState,
        image: Tensor,
        label: Tensor,
        teacher: Tensor | None = None,
        taught: Tensor | None = None,
    ) -> Tensor:
        network = next(one for one in (self.compiled, self.shared, state.network) if one is not None)
        with self.device.autocast():
            outputs = network(self.device.send_batch(image))
        loss, targets = self._loss_and_targets(label, teacher, taught)
        targets = targets.to(self.device.device, non_blocking=True)
        return loss_of_levels(loss, outputs, targets, exclusive=self.exclusive, weights=self.level_weights)

    def _loss_and_targets(
        self, label: Tensor, teacher: Tensor | None, taught: Tensor | None
    ) -> tuple[Callable[..., Tensor], Tensor]:
        """The loss, and the labels (B, K, X, Y, Z) or what else it learns from."""
        if teacher is None or taught is None:
            return self.loss, label
        return TaughtLoss(self.loss, self.teacher_weight), join_targets(label, teacher, taught)


def _running_statistics(network: nn.Module) -> list[Tensor]:
    """The buffers of norms that a forward pass changes."""
    norms = [module for module in network.modules() if getattr(module, "track_running_stats", False)]
    return [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
