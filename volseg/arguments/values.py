"""What option values are and how their text is read: times, memory, devices, shares, folders."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from cyclopts import Parameter

from volseg.errors import UserError

DATA, PREDICTIONS, RUNS = Path("data/prepared"), Path("predictions"), Path("runs")
Value = TypeVar("Value")
Many = Annotated[tuple[Value, ...], Parameter(show_default=False, consume_multiple=True)]
Fold = int | Literal["all"]


def parse_duration(text: str) -> float:
    """`90s`, `30m` or `2h` in seconds.

    Raises:
        UserError: anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match or not float(match[1]):
        raise UserError(f"--max-time: {text!r} is no time; expected e.g. 90s, 30m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def parse_memory(text: str) -> int:
    """`800MB`, `8GB` or `8GiB` in bytes.

    Raises:
        UserError: anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([MGT])(i?)B?", text, re.IGNORECASE)
    if not match or not float(match[1]):
        raise UserError(f"--max-memory: {text!r} is no amount of memory; expected e.g. 800MB, 8GB or 12GiB")
    power = {"M": 2, "G": 3, "T": 4}[match[2].upper()]
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def parse_device(text: str) -> str:
    """The name of a device as it stands, if it is one.

    Raises:
        UserError: anything else.
    """
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", text):
        raise UserError(
            f"--device: {text!r} is no device; expected cpu, cuda, cuda:1 (the second GPU) or mps"
        )
    return text


class Shard(NamedTuple):
    """One share of several, counted from 0."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """The share that `0/2` or `1/2` means, or `slurm`: that of this task of a SLURM array.

    Raises:
        UserError: anything else.
    """
    if text == "slurm":
        return _slurm_shard()
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise UserError(
            f"--shard: {text!r} is no share; expected e.g. 0/2 and 1/2, the two halves, or slurm in an array"
        )
    return Shard(int(match[1]), int(match[2]))


def _slurm_shard() -> Shard:
    """The share of this task of a SLURM array, which may begin at 0 or 1.

    What is left of an array, such as one task that is submitted again by itself, can't tell of how many it
    was, and would take the scans of tasks that still run: only a whole array is taken.

    Raises:
        UserError: no array, or one with a step or gaps, or that is not a whole one.
    """
    names = ("TASK_ID", "TASK_MIN", "TASK_MAX", "TASK_COUNT")
    given = [os.environ.get(f"SLURM_ARRAY_{name}", "") for name in names]
    if not any(given):
        raise UserError("--shard slurm: not in a SLURM array; submit with e.g. sbatch --array=0-15")
    if not all(re.fullmatch(r"\d{1,9}", number) for number in given):
        told = ", ".join(f"SLURM_ARRAY_{name}={value}" for name, value in zip(names, given, strict=True))
        raise UserError(f"--shard slurm: expected four numbers, not {told}; give the share, e.g. 0/16")
    task, first, last, count = map(int, given)
    step = os.environ.get("SLURM_ARRAY_TASK_STEP", "1")
    if step != "1" or last - first + 1 != count or not first <= task <= last:
        raise UserError(
            f"--shard slurm: the array from {first} to {last} has {count} tasks, so a step or gaps; submit "
            f"e.g. --array=0-{max(count - 1, 1)}, or give the share of each task"
        )
    if first > 1 or count == 1:
        raise UserError(
            f"--shard slurm: {first}-{last} is no whole array, which begins at 0 or 1 and has two tasks or "
            "more; to run tasks again use scontrol requeue, or give the share of each, e.g. 3/16"
        )
    return Shard(task - first, count)


def run_folder(text: str) -> Path:
    """The folder of a run to be trained: a name stands below runs/, a path for itself."""
    return Path(text) if "/" in text else RUNS / text


def read_by(parse: Callable[[str], object], name: str) -> Parameter:
    """An option of this name whose text a function turns into its value."""
    return Parameter(
        name, converter=lambda _, given: parse(given[0].value), metavar="STR", n_tokens=1, accepts_keys=False
    )


def parse_cluster(text: str) -> str:
    """`ray` or `ray://HOST:PORT` as it stands.

    Raises:
        UserError: anything else.
    """
    if not re.fullmatch(r"ray(://[^/\s:]+:\d+)?", text):
        raise UserError(f"--on: {text!r} is no cluster; expected ray, or ray://HOST:PORT of one that runs")
    return text


MAX_TIME, MAX_MEMORY = read_by(parse_duration, "--max-time"), read_by(parse_memory, "--max-memory")
DeviceName = Annotated[str | None, read_by(parse_device, "--device")]
"""A name for `parse_device`; None is a GPU if there is one, else the CPU."""
Cluster = Annotated[str | None, read_by(parse_cluster, "--on")]
"""Where scans are worked on beside this process; None is here alone."""
