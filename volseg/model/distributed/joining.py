"""Joining and leaving the process group of training, in words where it fails."""

import atexit
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

import torch
from torch import distributed
from torch.distributed import rendezvous  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store

from volseg import console
from volseg.errors import ElsewhereError, UserError
from volseg.model.distributed import process_group, slurm
from volseg.model.distributed.collective_errors import advice, error_line, is_collective_error
from volseg.model.distributed.failure_watch import FailureWatch, connect_ranks
from volseg.model.distributed.rank_places import check_places, own_place
from volseg.model.engines.device_errors import device_errors
from volseg.model.engines.device_selection import usable_device
from volseg.system import signals

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
PATIENCE = timedelta(minutes=30)
"""How long a rank waits for another that works; one that has failed or ended is noticed at once."""
MEETING = timedelta(minutes=10)
"""How long ranks wait for the others to start."""
HEAR = 3.0
"""Seconds in which a rank that lost another hears why; less than GRACE, after which it is ended."""
LINGER = 1.0
"""Seconds until it ends then, so that torchrun sees the other end first."""
EXIT = 5
"""Seconds after which the system ends a rank that failed, if it hangs as it exits."""
_meetings = count()


@contextmanager
def join_ranks(device: str | None = None) -> Iterator[None]:
    """Join the process group that the environment describes, for as long as the body lasts.

    `device` is what `--device` says: on GPUs, where there are any, unless it is "cpu". A rank on which the
    body fails ends all others within ten seconds; only the first one that failed raises its error.

    Raises:
        UserError: the other ranks can't be reached, two share a GPU, or a collective operation fails.
        ElsewhereError: another rank has failed or ended.
    """
    if process_group.announced_world_size() == 1:
        yield
        return
    for name, value in slurm.rank_environment(os.environ).items():
        os.environ.setdefault(name, value)
    store, watch = _meet_ranks()
    failed = True
    try:
        _init_process_group(store, device)
        with console.suppress_output(unless=watch.rank == 0):
            yield
        failed = False
    except signals.Stopped:  # all ranks have agreed on it
        failed = False
        raise
    except BaseException as error:
        told = _error_to_raise(error, watch)
        if told is error:
            raise
        raise told from error
    finally:
        _leave_process_group(failed=failed)
        watch.leave()


def _meet_ranks() -> tuple[Store, FailureWatch]:
    """A store that all ranks share, and the watch over them.

    Raises:
        UserError: they can't be reached.
    """
    try:
        store, number, size = next(rendezvous("env://", timeout=MEETING))
        # Several trainings of a process may meet at one store.
        store = PrefixStore(f"volseg/{next(_meetings)}", store)
        return store, connect_ranks(store, number, size, MEETING)
    except (RuntimeError, ValueError, OSError) as error:
        raise _meeting_error(error) from error


def _init_process_group(store: Store, device: str | None) -> None:
    """Begin the process group; two ranks on one GPU are refused before NCCL starts with the first sum."""
    number, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    chosen = usable_device(device)
    with device_errors(chosen, "start one rank a GPU, on GPUs that nobody else uses"):
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        own = own_place(chosen)
    try:
        distributed.init_process_group(
            BACKENDS[chosen.type], store=store, rank=number, world_size=size, timeout=PATIENCE
        )
        places = process_group.all_gather(own)
    except (RuntimeError, ValueError) as error:
        raise _meeting_error(error) from error
    check_places(places)
    here = [(place.host, place.cores) for place in places]
    process_group.sharing.ranks_sharing_cores = here.count((own.host, own.cores))


def _meeting_error(error: Exception) -> UserError:
    place = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
    return UserError(
        f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}: can't meet the others at {place} "
        f"({error_line(error)}); start all ranks by torchrun, srun or --devices"
    )


def _error_to_raise(error: BaseException, watch: FailureWatch) -> BaseException:
    """An error itself, or where another rank is the cause or failed first, that this one ends therefore."""
    if not isinstance(error, Exception):  # a second Ctrl-C
        watch.tell_failure()
        return error
    collective = is_collective_error(error)
    if collective or isinstance(error, ElsewhereError):
        if watch.known.wait(HEAR) or not collective:
            time.sleep(LINGER)
            return ElsewhereError(watch.reason())
        line = f"rank {watch.rank} of {watch.count}: {error_line(error)}"
        error = UserError(f"{line}; {advice(error)}, and --resume goes on from the last checkpoint")
    return error if watch.tell_failure() else ElsewhereError(watch.reason())


def _leave_process_group(*, failed: bool) -> None:
    """End the process group, but for NCCL's after a failure, whose end waits for the other ranks."""
    for network in process_group.sharing.networks:
        # A reducer that outlives the group ends the group's threads while it holds Python's lock; a thread
        # that waits for this lock then hangs the process (torch 2.13).
        del network.reducer, network.logger
    process_group.sharing.networks.clear()
    process_group.sharing.ranks_sharing_cores = 1
    if not process_group.is_joined():
        return
    if failed and "nccl" in distributed.get_backend_config():
        atexit.register(signal.alarm, EXIT)  # by the system, as Python may be the one that hangs
        return
    distributed.destroy_process_group()
