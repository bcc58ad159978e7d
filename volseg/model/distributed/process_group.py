"""The process group of training: ranks, their devices and parts of a batch, and collective operations.

A single process is rank 0 of 1 and neither waits nor sends.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from volseg.errors import ElsewhereError, UserError
from volseg.model.distributed import slurm
from volseg.system import hardware

Value = TypeVar("Value")


@dataclass
class GroupState:
    """The number of ranks that share this process's cores, and the networks in training."""

    ranks_sharing_cores: int = 1
    networks: list[DistributedDataParallel] = field(default_factory=list)


sharing = GroupState()


def announced_world_size() -> int:
    """The number of ranks by the environment of torchrun or SLURM; 1 for a single process."""
    environment = {**slurm.rank_environment(os.environ), **os.environ}
    return int(environment.get("WORLD_SIZE", 1)) if "RANK" in environment else 1


def rank() -> int:
    """The number of this process; rank 0 writes and prints."""
    return distributed.get_rank() if is_joined() else 0


def world_size() -> int:
    """The number of ranks."""
    return distributed.get_world_size() if is_joined() else 1


def rank_cores() -> int:
    """Processor cores for this rank, at least 1."""
    return hardware.available_cores(sharing.ranks_sharing_cores)


def rank_gpu() -> torch.device:
    """The GPU of this rank, by its number on this machine; `join_ranks` refuses two ranks on one."""
    number = int(os.environ.get("LOCAL_RANK", os.environ["RANK"])) if announced_world_size() > 1 else 0
    return torch.device("cuda", number % torch.cuda.device_count())


def on_first_rank(work: Callable[[], Value]) -> Value:
    """The result of `work` on rank 0, returned on every rank.

    Raises:
        ElsewhereError: it failed on rank 0, where its own error is raised.
    """
    if world_size() == 1:
        return work()
    message: list[Any] = [None, False]
    try:
        if rank() == 0:
            message = [work(), True]
    finally:
        distributed.broadcast_object_list(message)
    if not message[1]:
        raise ElsewhereError
    value: Value = message[0]
    return value


def all_gather(own: Value) -> list[Value]:
    """The values of all ranks in their order, returned on every rank."""
    if world_size() == 1:
        return [own]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, own)
    return values


def all_reduce_max(values: Sequence[float]) -> list[float]:
    """The maximum over all ranks of each of some numbers, so that all ranks decide alike."""
    if world_size() == 1:
        return list(values)
    largest = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(largest, distributed.ReduceOp.MAX)
    return [float(value) for value in largest]


def rank_positions(count: int) -> range:
    """The positions among `count` items that are this rank's: every `world_size()`-th."""
    return range(rank(), count, world_size())


def rank_part_sizes(batch: int, parts: int) -> tuple[int, ...]:
    """The number of this rank's patches in each of `parts` equal parts of a batch.

    Raises:
        UserError: a part has fewer patches than there are ranks.
    """
    size = batch // parts
    if size < world_size():
        setting = f"train.batch: {batch}" + (f" in {parts} parts" if parts > 1 else "")
        raise UserError(
            f"{setting} is too little for {world_size()} ranks; make it at least {world_size() * parts} "
            f"or take at most {size} devices"
        )
    positions = np.asarray(rank_positions(batch))
    return tuple(int(count) for count in np.bincount(positions // size, minlength=parts))


def seed_other_ranks(seed: int, step: int) -> None:
    """Seed torch (dropout) by seed, rank and step on all ranks but the first, whose state stays.

    So the ranks draw different numbers, and a resume with as many ranks draws the same ones again.
    """
    if rank():
        state = np.random.SeedSequence([seed, rank(), step]).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0] >> 1))


def wrap_distributed(network: nn.Module) -> DistributedDataParallel | None:
    """A network in DDP: all ranks begin with rank 0's weights and get the mean of the gradients.

    It is valid as long as the process group; None for a single process.
    """
    if world_size() == 1:
        return None
    # The stride of an axis of one voxel has no meaning.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    wrapped = DistributedDataParallel(network)
    sharing.networks.append(wrapped)
    return wrapped


def all_reduce_sum(total: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, returned on every rank; the tensor itself of a single process.

    The gradient of a rank's part is the sum of all ranks' gradients of the total. If all ranks compute
    the same scalar from the total, that is the number of ranks times the gradient of the part, and the
    mean over ranks, which DDP takes of the weights' gradients, is exactly that of the global batch.
    All ranks must call it equally often, forwards and backwards, also a rank with nothing to add.
    """
    if world_size() == 1:
        return total
    summed: Tensor = _AllReduceSum.apply(total)  # type: ignore[no-untyped-call]
    return summed


class _AllReduceSum(torch.autograd.Function):
    """torch.distributed's all_reduce with its gradient, without the class that torch deprecates."""

    @staticmethod
    def forward(_context: Any, part: Tensor) -> Tensor:
        total = part.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    backward = forward  # type: ignore[assignment]


def is_joined() -> bool:
    """Whether this process is one of several ranks at present."""
    return distributed.is_available() and distributed.is_initialized()
