"""What option values are and how their text is read: times, memory, devices, shares, folders."""

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
    """The share that `0/2` or `1/2` means.

    Raises:
        UserError: anything else.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise UserError(f"--shard: {text!r} is no share; expected e.g. 0/2 and 1/2, the two halves")
    return Shard(int(match[1]), int(match[2]))


def run_folder(text: str) -> Path:
    """The folder of a run to be trained: a name stands below runs/, a path for itself."""
    return Path(text) if "/" in text else RUNS / text


def read_by(parse: Callable[[str], object], name: str) -> Parameter:
    """An option of this name whose text a function turns into its value."""
    return Parameter(
        name, converter=lambda _, given: parse(given[0].value), metavar="STR", n_tokens=1, accepts_keys=False
    )


MAX_TIME, MAX_MEMORY = read_by(parse_duration, "--max-time"), read_by(parse_memory, "--max-memory")
DeviceName = Annotated[str | None, read_by(parse_device, "--device")]
"""A name for `parse_device`; None is a GPU if there is one, else the CPU."""
