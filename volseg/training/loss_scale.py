"""The scale of the loss in float16, without which small gradients would be rounded to zero."""

from typing import Any

import torch
from torch import Tensor, nn

FIRST = 2.0**16
PATIENCE = 2000
"""Steps in a row without an infinite gradient after which the scale doubles."""
LEAST = 1.0
"""Below it gradients are infinite for another reason than the scale."""


class LossScale:
    """The factor on the loss: 1 unless `enabled`, as torch's GradScaler sets it but never read in a step.

    It halves after a step whose loss or gradient is not finite, which changes no weights, and doubles
    after `PATIENCE` steps in a row without one.
    """

    def __init__(self, device: torch.device, *, enabled: bool) -> None:
        self.enabled = enabled
        self.factor = torch.full((), FIRST if enabled else 1.0, device=device)
        self.usable_steps = torch.zeros((), device=device)

    def scale(self, loss: Tensor) -> Tensor:
        """The loss, scaled."""
        return loss * self.factor if self.enabled else loss

    @torch.no_grad()
    def unscale_gradients(self, network: nn.Module) -> None:
        """Divide the gradients of a network's weights by the scale."""
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        if self.enabled and gradients:
            torch._foreach_mul_(gradients, self.factor.reciprocal())

    def update(self, unusable: Tensor) -> Tensor:
        """Adapt the scale to a step; return whether training can't go on. Both are booleans on the device.

        `unusable` says that the step's loss or gradient is not finite.
        """
        if not self.enabled:
            return unusable
        usable_steps = self.usable_steps + 1
        grows = usable_steps >= PATIENCE
        self.factor.mul_(torch.where(unusable, 0.5, torch.where(grows, 2.0, 1.0)))
        self.usable_steps.copy_(torch.where(unusable | grows, 0.0, usable_steps))
        return self.factor < LEAST

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint, in the form of torch's GradScaler; empty where there is no scale."""
        values = {"scale": float(self.factor), "_growth_tracker": int(self.usable_steps)}
        return values if self.enabled else {}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Take over the state of a checkpoint, if both have one: a run may go on in another precision."""
        if self.enabled and values:
            self.factor.fill_(values["scale"])
            self.usable_steps.fill_(values["_growth_tracker"])
