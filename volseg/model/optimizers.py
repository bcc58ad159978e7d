"""The optimizer and its learning-rate schedule."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from volseg.schema import NamedUnion, Section

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class AdamW(Section):
    """AdamW (Loshchilov and Hutter 2019) with warm-up and cosine or polynomial decay.

    `warmup` is the share of the run in which the rate rises from 0 to `lr`.
    """

    name: Literal["adamw"] = "adamw"
    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 1e-2
    warmup: float = Field(default=0.03, ge=0, lt=1)
    decay: Literal["cosine", "polynomial"] = "cosine"

    def build(self, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        """The optimizer; `rate` sets its learning rate before each step.

        Its `step` changes nothing where its attribute `found_inf`, a tensor on the device, is 1, as that of
        torch's fused optimizers: so nobody has to wait for the device to know.
        """
        import torch

        return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def rate(self, progress: float) -> float:
        """The learning rate at a share (0 to 1) of the run."""
        share = min(1.0, (progress - self.warmup) / (1 - self.warmup))
        if progress < self.warmup:
            factor = progress / self.warmup
        elif self.decay == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * share))
        else:
            factor = math.pow(1 - share, 0.9)
        return self.lr * max(factor, 1e-3)


OptimizerChoice = Annotated[AdamW, NamedUnion()]
