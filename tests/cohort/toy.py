"""Work on scans that are mere names: what a worker does with one is told by its name."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.cohort.place import this_place
from volseg.cohort.work import TakenOver
from volseg.errors import OutputError


@dataclass(frozen=True)
class ToyWork:
    """Each worker writes a line into `begun.txt` for each scan that it begins with, and into `opened.txt`.

    A scan is named `<number>-<deed>`; the deeds are below.
    """

    out: Path
    seconds: float = 0.0
    label: str = "toying"
    at_once: int = 1
    cores: int | None = 1
    on_gpu: bool = False
    memory: int = 0
    limit: int = 1 << 30
    folders: tuple[Path, ...] = ()

    def name(self, item: str) -> str:
        return item

    def cost(self, item: str) -> int:
        return int(item.partition("-")[0])

    def here(self, items: Sequence[str], begun: Callable[[str], None]) -> Iterator[tuple[int, Any]]:
        opened = self.open(None)
        for position, item in enumerate(items):
            begun(item)
            yield position, opened(item, 1)

    def open(self, max_memory: int | None) -> "ToyWorker":
        note(self.out / "opened.txt", *this_place(), max_memory)
        return ToyWorker(self, max_memory or self.limit)

    def lost(self, item: str, reason: str, attempts: int) -> tuple[str, Any]:
        return f"lost after {attempts}: {reason}", item

    def problem(self, result: tuple[str, Any]) -> str:
        return "" if result[0] == "done" else result[0]


@dataclass(frozen=True)
class ToyWorker:
    work: ToyWork
    max_memory: int

    def __call__(self, item: str, attempt: int) -> tuple[str, Any]:
        deed = item.partition("-")[2]
        note(self.work.out / "begun.txt", item, attempt, self.max_memory, *this_place())
        if deed == "dies" or (deed == "dies once" and attempt == 1):
            time.sleep(0.3)  # in the midst of it: what was done before has been told
            os.kill(os.getpid(), signal.SIGKILL)
        if deed == "taken" and attempt == 1:
            raise TakenOver(item)
        if deed == "full":
            raise OutputError("out: can't be written: the disk is full")
        if deed == "fails":
            return "its files are damaged", item
        time.sleep(self.work.seconds)
        (self.work.out / f"{item}.done").touch()
        return "done", (item, attempt, self.max_memory, *this_place())


def note(path: Path, *facts: object) -> None:
    """Add a line to a file."""
    with path.open("a") as file:
        file.write(" ".join(map(str, facts)) + "\n")
