"""Ranks of which one fails, dies or is slow: all end, soon, and one of them says why."""

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import distributed

from tests.model.engines import fake_gpu
from volseg.errors import UserError
from volseg.model.distributed import joining
from volseg.model.distributed.process_group import all_reduce_max
from volseg.system import signals

pytestmark = pytest.mark.slow

SECONDS = 10
"""Within which all have to end after the first failure."""
SCENES_AT_ONCE = 5
"""So few that none is late for want of a core."""

DUPLICATE = "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 50"
ELSEWHERE, DEAD = "ElsewhereError: ", "has ended without a word"


def fail(rank: int) -> None:
    raise UserError(f"scan{rank}: zero bytes")


def meet(_rank: int) -> None:
    all_reduce_max([1.0])


def work(_rank: int) -> None:
    time.sleep(60)  # as does a rank that validates, or that waits within a collective of NCCL


def linger(_rank: int) -> None:
    time.sleep(3)


def die(_rank: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop(_rank: int) -> None:
    raise signals.Stopped(signal.SIGTERM)


def break_off(_rank: int) -> None:
    raise KeyboardInterrupt


def mismatch(_rank: int) -> None:
    raise distributed.DistBackendError(
        "NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.cpp:77, invalid usage, NCCL version 2.27.3\n"
        "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\n"
        f"Last error:\n{DUPLICATE}"
    )


def done(_rank: int) -> None:
    """Leave at once."""


GONE = f"{ELSEWHERE}rank 0 of 2 ends because rank 1 {DEAD}"
SCENES: dict[str, tuple[list[Callable[[int], None]], list[str]]] = {
    "fails beside one that waits": ([meet, fail], [ELSEWHERE, "UserError: scan1: zero bytes"]),
    "first rank fails": ([fail, meet], ["UserError: scan0: zero bytes", ELSEWHERE]),
    "fails beside one that works": ([work, fail], ["", "UserError: scan1: zero bytes"]),
    "first rank fails beside one that works": ([fail, work], ["UserError: scan0: zero bytes", ""]),
    "dies beside one that waits": ([meet, die], [GONE, ""]),
    "first rank dies": ([die, meet], ["", f"ElsewhereError: rank 1 of 2 ends because rank 0 {DEAD}"]),
    "dies beside one that works": ([work, die], ["", ""]),
    "one of three fails": ([meet, meet, fail], [ELSEWHERE, ELSEWHERE, "UserError: scan2: zero bytes"]),
    "one of three dies": ([meet, die, meet], [GONE.replace("2", "3"), "", ELSEWHERE]),
    "is broken off": ([meet, break_off], [ELSEWHERE, "KeyboardInterrupt: "]),
    "all are stopped": ([stop, stop], ["Stopped: 15", "Stopped: 15"]),
    "one is slow": ([linger, done], ["ended", "ended"]),
    "first rank is quick": ([done, linger], ["ended", "ended"]),
    "a collective operation fails": ([work, mismatch], ["", f"UserError: rank 1 of 2: {DUPLICATE}; NCCL"]),
}  # fmt: skip
"""What each rank does after they have met, and how it ends; empty: as a process, without a word."""


AT_ONCE = {f"both fail, {time}": [fail, fail] for time in ("once", "again", "a third time")}
ONE_GPU = "two share a GPU"


@dataclass(frozen=True)
class End:
    """What the ranks of a scene raised, and the seconds from their meeting until the last had ended."""

    told: list[str]
    codes: list[int | None]
    seconds: float


def play(name: str, deeds: list[Callable[[int], None]], rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    device = None if name == ONE_GPU else "cpu"
    if name == ONE_GPU:
        patch = pytest.MonkeyPatch()
        fake_gpu.install(patch)
        patch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="GPU-1"))
        patch.setitem(joining.BACKENDS, "cuda", "gloo")  # this build of torch may have no NCCL
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(deeds)),
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(port),
    }  # fmt: skip
    told = "ended"
    try:
        with joining.join_ranks(device):
            all_reduce_max([1.0])
            (folder / "met").touch()
            deeds[rank](rank)
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
    (folder / str(rank)).write_text(told)


@pytest.fixture(scope="module")
def ends(tmp_path_factory) -> dict[str, End]:
    """All scenes, a few at once: each waits most of its time."""
    scenes = {name: deeds for name, (deeds, _) in SCENES.items()} | AT_ONCE | {ONE_GPU: [done, done]}
    begun: dict[str, tuple[Path, list]] = {}
    over: dict[str, float] = {}
    waiting = list(scenes)
    while waiting or len(over) < len(begun):
        while waiting and len(begun) - len(over) < SCENES_AT_ONCE:
            name = waiting.pop(0)
            begun[name] = start(name, scenes[name], tmp_path_factory.mktemp("scene"))
        time.sleep(0.05)
        for name, (_, ranks) in begun.items():
            if name not in over and not any(rank.is_alive() for rank in ranks):
                over[name] = time.time()
    return {name: ended(*scene, over[name]) for name, scene in begun.items()}


def start(name: str, deeds: list[Callable[[int], None]], folder: Path) -> tuple[Path, list]:
    """A scene's folder and the processes of its ranks."""
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    fork = get_context("fork")
    ranks = [fork.Process(target=play, args=(name, deeds, n, port, folder)) for n in range(len(deeds))]
    for rank in ranks:
        rank.start()
    return folder, ranks


def ended(folder: Path, ranks: list, over: float) -> End:
    files = [folder / str(n) for n in range(len(ranks))]
    told = [file.read_text() if file.exists() else "" for file in files]
    met = folder / "met"
    began = met.stat().st_mtime if met.exists() else over
    return End(told, [rank.exitcode for rank in ranks], over - began)


@pytest.mark.parametrize("name", SCENES)
def test_ranks_end_within_ten_seconds_and_one_says_why(ends: dict[str, End], name: str) -> None:
    expected, end = SCENES[name][1], ends[name]

    for told, start in zip(end.told, expected, strict=True):
        assert told.startswith(start)
        assert bool(told) == bool(start)
    assert end.seconds < SECONDS


def test_a_rank_that_can_not_end_by_itself_is_ended(ends: dict[str, End]) -> None:
    assert ends["fails beside one that works"].codes == [1, 0]
    assert ends["dies beside one that works"].codes == [1, -signal.SIGKILL]


@pytest.mark.parametrize("name", AT_ONCE)
def test_of_two_that_fail_at_once_one_says_why(ends: dict[str, End], name: str) -> None:
    told = sorted(ends[name].told)

    assert told[0] == ELSEWHERE
    assert told[1].startswith("UserError: scan")


def test_two_ranks_on_one_gpu_are_refused_before_nccl_starts(ends: dict[str, End]) -> None:
    told = sorted(ends[ONE_GPU].told)

    assert told[0] == ELSEWHERE
    assert told[1].startswith("UserError: ranks 0, 1 of 2 would share a GPU: ")
