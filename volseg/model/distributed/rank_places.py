"""Where the ranks run: their machines, cores and GPUs."""

import os
import socket
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from volseg.errors import UserError
from volseg.formatting import format_count, join_names


@dataclass(frozen=True)
class RankPlace:
    """The machine of a rank, the cores that it may use, and its GPU (empty: it trains on the CPU)."""

    host: str
    cores: tuple[int, ...]
    gpu: str = ""


def own_place(device: torch.device) -> RankPlace:
    """Where this process runs; a GPU is known by its hardware, whatever its number is here."""
    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    gpu = str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else ""
    return RankPlace(socket.gethostname(), cores, gpu)


def check_places(places: Sequence[RankPlace]) -> None:
    """Refuse ranks that share a GPU, which NCCL can't do, and those on CPUs beside others on GPUs.

    Raises:
        UserError: with the numbers of the ranks and what would be right.
    """
    without = [str(rank) for rank, place in enumerate(places) if not place.gpu]
    if 0 < len(without) < len(places):
        raise UserError(
            f"{_ranks(without)} of {len(places)} without a GPU, beside others that have one; "
            "give each rank a GPU, or all --device cpu"
        )
    ranks = defaultdict(list)
    for rank, place in enumerate(places):
        ranks[place.host, place.gpu].append(str(rank))
    for (host, gpu), sharing in ranks.items():
        if gpu and len(sharing) > 1:
            here = [place.gpu for place in places if place.host == host]
            gpus = format_count(len(set(here)), "GPU")
            raise UserError(
                f"{_ranks(sharing)} of {len(places)} would share a GPU: {host} has {gpus} for {len(here)} "
                "ranks; start one rank a GPU, or give --device cpu"
            )


def _ranks(numbers: Sequence[str]) -> str:
    return f"rank{'s' * (len(numbers) > 1)} {join_names(numbers)}"
