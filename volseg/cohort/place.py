"""Where a scan is worked on."""

import os
import socket
from functools import cache
from typing import NamedTuple

import psutil


class Place(NamedTuple):
    """A host, and a process there that no other one, before or after it, is taken for: `4711-1764564000`."""

    host: str
    process: str


@cache
def _place_of(pid: int) -> Place:
    return Place(socket.gethostname(), f"{pid}-{psutil.Process(pid).create_time():.0f}")


def this_place() -> Place:
    """Where this is computed."""
    return _place_of(os.getpid())
