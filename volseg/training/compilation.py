"""The network as torch.compile makes it for training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from volseg.errors import UserError

BACKEND = "inductor"
"""torch's own compiler; it needs a C++ compiler on a CPU and Triton on a GPU."""


def compile_network(network: nn.Module) -> nn.Module:
    """A network that computes the same with the same weights, compiled at its first batch.

    Training batches have one shape, so it is compiled for that one and, with several ranks, a few parts.
    """
    compiled: nn.Module = torch.compile(network, backend=BACKEND, dynamic=False)  # type: ignore[assignment]
    return compiled


@contextmanager
def compile_errors() -> Iterator[None]:
    """Turn the failure to compile a network into a user's error."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).splitlines()[:2])  # which backend failed, and its own first line
        raise UserError(
            f"train.compile: torch can't compile the network here ({reason}); set train.compile=false"
        ) from error
