"""The moving average of a network's weights, which scores better than the weights of the last step."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def average(network: nn.Module, decay: float) -> AveragedModel:
    """A copy that follows `network` with each `update_parameters`, buffers included.

    At first it follows faster, by (1 + n) / (10 + n) after n updates (as in Abadi et al. 2016,
    TensorFlow's moving averages), so that a short run's average does not remember its random start.
    """

    @torch.no_grad()
    def follow(averages: Sequence[Tensor], currents: Sequence[Tensor], count: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(list(averages), list(currents), share)
        else:
            for mean, current in zip(averages, currents, strict=True):
                mean.copy_(current)

    return AveragedModel(network, multi_avg_fn=follow, use_buffers=True)
