"""What processes that train one network together (ranks) share: sums over all of them."""

from typing import Any

import torch
from torch import Tensor, distributed


def everywhere(total: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, the same on each; the tensor itself where there is only one.

    The gradient of a rank's own part is the sum of all ranks' gradients of the whole. If all compute
    the same scalar from the sum, that is the number of ranks times the gradient of the part, and the
    mean over ranks, which DDP takes of the weights' gradients, is exactly that of the global batch.
    All ranks must call it equally often, forwards and backwards, also one that has nothing to add.
    """
    together = distributed.is_available() and distributed.is_initialized()
    if not together or distributed.get_world_size() == 1:
        return total
    summed: Tensor = _Everywhere.apply(total)  # type: ignore[no-untyped-call]
    return summed


class _Everywhere(torch.autograd.Function):
    """torch.distributed's all_reduce with its gradient, without the class that torch deprecates."""

    @staticmethod
    def forward(_context: Any, total: Tensor) -> Tensor:
        return _summed(total)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(part: Tensor) -> Tensor:
    whole = part.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(whole)
    return whole
