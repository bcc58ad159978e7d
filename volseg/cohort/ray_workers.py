"""What runs on the nodes of a Ray cluster: a worker that has loaded what it needs, and a look at a node."""

import logging
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import volseg
from volseg.cohort.place import Place, this_place
from volseg.cohort.work import OpenedWork, TakenOver, Work

Item = TypeVar("Item")
Result = TypeVar("Result")
Line = tuple[int, str]
"""A line of a worker's log: its level and text."""


class Opened(NamedTuple):
    """A worker that is ready: where it is, and the memory that it keeps to, 0 for none."""

    place: Place
    max_memory: int


class Ended(NamedTuple, Generic[Result]):
    """The result of a scan, None where another worker has taken it, and the lines of the worker's log."""

    result: Result | None
    lines: Sequence[Line]


class NodeFacts(NamedTuple):
    """What must be alike on all nodes, and the folders that a node does not see."""

    python: str
    ray: str
    volseg: str
    unseen: tuple[str, ...] = ()

    def differences(self, other: "NodeFacts") -> list[str]:
        """What another node has that is not alike, as `Python 3.12.1 in place of 3.11.7`."""
        names = {"python": "Python", "ray": "Ray", "volseg": "volseg"}
        told = [
            f"{name} {getattr(other, key) or 'not there'} in place of {getattr(self, key)}"
            for key, name in names.items()
            if getattr(self, key) != getattr(other, key)
        ]
        return told + [f"no folder {folder}" for folder in other.unseen]


def facts_here() -> NodeFacts:
    """The versions of this process."""
    import ray

    return NodeFacts(platform.python_version(), ray.__version__, volseg.__version__)


def node_probe(folders: Sequence[Path]) -> Callable[[], tuple[Any, ...]]:
    """A function that tells the fields of a node's facts; it travels whole: volseg may be missing there."""
    names = [str(folder) for folder in folders]

    def probe() -> tuple[Any, ...]:
        import os
        import platform

        import ray

        try:
            from volseg import __version__ as version
        except ImportError:
            version = ""
        unseen = tuple(name for name in names if not os.path.isdir(name))  # noqa: PTH112
        return platform.python_version(), ray.__version__, version, unseen

    return probe


@dataclass
class _Lines(logging.Handler):
    """Keeps the lines of the log for the process that gave the work."""

    kept: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append((record.levelno, self.format(record)))

    def take(self) -> list[Line]:
        taken, self.kept = self.kept, []
        return taken

    __hash__ = object.__hash__


class Worker(Generic[Item, Result]):
    """An actor: it opens the work once, then does scan after scan in threads."""

    def __init__(self, work: Work[Item, Result], max_memory: int | None, folder: str) -> None:
        """Nothing is loaded yet. Names of files are relative to `folder`, as for the one who gave them."""
        self._work, self._max_memory, self._folder = work, max_memory, folder
        self._opened: OpenedWork[Item, Result] | None = None
        self._log = _Lines()

    def open(self) -> Opened:
        """Load what every scan needs."""
        os.chdir(self._folder)
        log = logging.getLogger("volseg")
        log.handlers, log.propagate = [self._log], False
        log.setLevel(logging.INFO)
        self._opened = self._work.open(self._max_memory)
        return Opened(this_place(), self._opened.max_memory)

    def do(self, item: Item, attempt: int) -> Ended[Result]:
        """Do one scan."""
        if self._opened is None:
            raise AssertionError("a worker that was not opened")
        try:
            return Ended(self._opened(item, attempt), self._log.take())
        except TakenOver:
            return Ended(None, self._log.take())
