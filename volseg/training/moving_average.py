"""The moving average of the weights."""

import copy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """The exponential moving average `module` of a network's weights and buffers.

    The decay after n updates is at most (1 + n) / (10 + n) (as in TensorFlow's moving averages, Abadi et
    al. 2016), so that the average of a short run forgets its random start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(network)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module, changed: Tensor) -> None:
        """Follow a network where `changed`, a scalar on its device, is 1; stay where it is 0."""
        share = changed * (1 - self._decay_now())
        means = chain(self.module.parameters(), self.module.buffers())
        for mean, current in zip(means, chain(network.parameters(), network.buffers()), strict=True):
            if mean.is_floating_point():
                mean.lerp_(current, share)
            else:  # a counter, which a step that changes nothing has not moved
                mean.copy_(current)
        self.updates += 1

    def _decay_now(self) -> float:
        """The share of the average so far in the next; none before the first update."""
        return min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.updates else 0.0

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint, in the form of torch's AveragedModel."""
        weights = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        return {"n_averaged": torch.tensor(self.updates), **weights}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.updates = int(values["n_averaged"])
        weights = {name: value for name, value in values.items() if name != "n_averaged"}
        self.module.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})
