"""Processes that train one network together (ranks): how they meet, what each takes, what they sum.

A process alone is rank 0 of 1, and nothing here makes it wait or send.
"""

import os
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from volseg import console
from volseg.errors import ElsewhereError, UserError
from volseg.model.distributed import slurm
from volseg.system import hardware

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
PATIENCE = timedelta(minutes=30)
"""How long a rank waits for another that lives; one that is dead is noticed at once."""
LINGER = 3.0
"""Seconds that a rank which lost another goes on to live, so that the other's end is seen first."""
Value = TypeVar("Value")


@dataclass
class _GroupState:
    """How many ranks share this process's cores, and what they train."""

    ranks_sharing_cores: int = 1
    networks: list[DistributedDataParallel] = field(default_factory=list)


_sharing = _GroupState()


def announced_world_size() -> int:
    """How many ranks the environment tells of, by torchrun or by SLURM; 1 for a process alone."""
    found = {**slurm.rank_environment(os.environ), **os.environ}
    return int(found.get("WORLD_SIZE", 1)) if "RANK" in found else 1


@contextmanager
def join_ranks() -> Iterator[None]:
    """Meet the other ranks that the environment tells of, for as long as the body lasts.

    Raises:
        UserError: they can't be reached.
        ElsewhereError: one of them has ended.
    """
    count = announced_world_size()
    if count == 1:
        yield
        return
    for name, value in slurm.rank_environment(os.environ).items():
        os.environ.setdefault(name, value)
    _init_process_group(count)
    try:
        with console.suppress_output(unless=rank() == 0):
            yield
    except ElsewhereError:
        time.sleep(LINGER)
        raise
    except RuntimeError as error:
        if not _is_peer_failure(error):
            raise
        time.sleep(LINGER)
        told = f"rank {rank()} of {count} ends because another rank has ended; go on with --resume"
        raise ElsewhereError(told) from error
    finally:
        _destroy_process_group()


def rank() -> int:
    """This process's number; rank 0 is the one that writes and talks."""
    return distributed.get_rank() if _is_initialized() else 0


def world_size() -> int:
    """How many there are."""
    return distributed.get_world_size() if _is_initialized() else 1


def rank_cores() -> int:
    """Processor cores for this rank, at least 1."""
    return max(1, hardware.available_cores() // _sharing.ranks_sharing_cores)


def rank_gpu() -> torch.device:
    """The GPU of this rank: its number among the ranks of this machine."""
    number = int(os.environ["LOCAL_RANK"]) if announced_world_size() > 1 else 0
    return torch.device("cuda", number % torch.cuda.device_count())


def on_first_rank(work: Callable[[], Value]) -> Value:
    """What rank 0 returns from `work`, on every rank; the others only wait for it.

    Raises:
        ElsewhereError: it failed on rank 0, where its own error is raised.
    """
    if world_size() == 1:
        return work()
    parcel: list[Any] = [None, False]
    try:
        if rank() == 0:
            parcel = [work(), True]
    finally:
        distributed.broadcast_object_list(parcel)
    if not parcel[1]:
        raise ElsewhereError
    value: Value = parcel[0]
    return value


def all_gather(own: Value) -> list[Value]:
    """What each rank has, in their order, on every rank."""
    if world_size() == 1:
        return [own]
    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, own)
    return found


def all_reduce_max(values: Sequence[float]) -> list[float]:
    """The largest of each of some numbers over all ranks: the same decision on each follows from it."""
    if world_size() == 1:
        return list(values)
    found = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return [float(value) for value in found]


def rank_positions(count: int) -> range:
    """The positions among `count` things that are this rank's: every so many-th."""
    return range(rank(), count, world_size())


def rank_part_sizes(batch: int, parts: int) -> tuple[int, ...]:
    """Of each of `parts` equal parts of a batch that is `dealt` out, how many patches are this rank's.

    Raises:
        UserError: a part has fewer patches than there are ranks.
    """
    size = batch // parts
    if size < world_size():
        told = f"train.batch: {batch}" + (f" in {parts} parts" if parts > 1 else "")
        raise UserError(
            f"{told} is too little for {world_size()} ranks; make it at least {world_size() * parts} "
            f"or take at most {size} devices"
        )
    mine = np.asarray(rank_positions(batch))
    return tuple(int(count) for count in np.bincount(mine // size, minlength=parts))


def seed_other_ranks(seed: int, step: int) -> None:
    """Have ranks beside the first draw (dropout) by seed, rank and step; the first goes on as it was.

    So what they draw differs, and a resume with as many ranks draws the same again.
    """
    if rank():
        drawn = np.random.SeedSequence([seed, rank(), step]).generate_state(1, np.uint64)
        torch.manual_seed(int(drawn[0] >> 1))


def wrap_distributed(network: nn.Module) -> DistributedDataParallel | None:
    """A network such that all ranks begin with rank 0's weights and get the mean of the gradients.

    It works until the ranks part; None for a process alone.
    """
    if world_size() == 1:
        return None
    # An axis of one voxel has no stride to speak of.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    wrapped = DistributedDataParallel(network)
    _sharing.networks.append(wrapped)
    return wrapped


def all_reduce_sum(total: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, the same on each; the tensor itself where there is only one.

    The gradient of a rank's own part is the sum of all ranks' gradients of the whole. If all compute
    the same scalar from the sum, that is the number of ranks times the gradient of the part, and the
    mean over ranks, which DDP takes of the weights' gradients, is exactly that of the global batch.
    All ranks must call it equally often, forwards and backwards, also one that has nothing to add.
    """
    if world_size() == 1:
        return total
    summed: Tensor = _AllReduceSum.apply(total)  # type: ignore[no-untyped-call]
    return summed


class _AllReduceSum(torch.autograd.Function):
    """torch.distributed's all_reduce with its gradient, without the class that torch deprecates."""

    @staticmethod
    def forward(_context: Any, total: Tensor) -> Tensor:
        return _sum_over_group(total)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return _sum_over_group(gradient)


def _sum_over_group(part: Tensor) -> Tensor:
    whole = part.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(whole)
    return whole


def _is_initialized() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _init_process_group(count: int) -> None:
    try:
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        if kind == "cuda":
            torch.cuda.set_device(rank_gpu())
        distributed.init_process_group(BACKENDS[kind], timeout=PATIENCE)
        places = all_gather(_host_and_cores())
    except (RuntimeError, ValueError, KeyError) as error:
        place = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise UserError(
            f"rank {os.environ['RANK']} of {count}: can't meet the others at {place} "
            f"({str(error).splitlines()[0]}); start all ranks by torchrun, srun or --devices"
        ) from error
    _sharing.ranks_sharing_cores = places.count(_host_and_cores())


def _destroy_process_group() -> None:
    for network in _sharing.networks:
        # A reducer that outlives the group ends the group's threads while it holds Python's lock, for
        # which one of them may be waiting: then the process hangs (torch 2.13).
        del network.reducer, network.logger
    _sharing.networks.clear()
    distributed.destroy_process_group()
    _sharing.ranks_sharing_cores = 1


def _host_and_cores() -> tuple[str, list[int]]:
    """This machine, and the cores that this process may use on it."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return socket.gethostname(), allowed


def _is_peer_failure(error: RuntimeError) -> bool:
    """Whether it tells that another rank is gone; torch has no class of its own for it with gloo."""
    told = re.search(r"gloo|nccl|c10d|connection (closed|reset)", str(error), re.IGNORECASE)
    return bool(told) or isinstance(error, distributed.DistError)
