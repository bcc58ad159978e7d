"""What is done to each scan of a cohort: it tells engines what a scan costs, and how a worker begins.

An engine knows nothing of volumes. What travels between machines are names, paths and small results.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Given_contra = TypeVar("Given_contra", contravariant=True)
Made_co = TypeVar("Made_co", covariant=True)


class TakenOver(Exception):  # noqa: N818 - it is no error: another worker has the scan
    """Another worker has taken a scan, as this one was thought to be lost; it leaves the files alone."""


class OpenedWork(Protocol[Given_contra, Made_co]):
    """Work of which a worker has loaded all that it needs for every scan.

    `max_memory` is the bytes that it may take, 0 where it keeps to none.
    """

    @property
    def max_memory(self) -> int: ...  # noqa: D102

    def __call__(self, item: Given_contra, attempt: int) -> Made_co:
        """Do one scan; `at_once` threads may call this."""
        ...


class Work(Protocol[Item, Result]):
    """Work on scans, which can be pickled.

    `label` names it for people. A worker has `cores` (None: all of its machine), a GPU where `on_gpu` and
    there are any, and `memory` bytes, and does up to `at_once` scans at a time. Every machine needs the
    `folders`.
    """

    @property
    def label(self) -> str: ...  # noqa: D102

    @property
    def at_once(self) -> int: ...  # noqa: D102

    @property
    def cores(self) -> int | None: ...  # noqa: D102

    @property
    def on_gpu(self) -> bool: ...  # noqa: D102

    @property
    def memory(self) -> int: ...  # noqa: D102

    @property
    def folders(self) -> Sequence[Path]: ...  # noqa: D102

    def name(self, item: Item) -> str:
        """The scan's name."""
        ...

    def cost(self, item: Item) -> int:
        """A forecast of the scan's effort, by which the largest come first."""
        ...

    def here(self, items: Sequence[Item], begun: Callable[[Item], None]) -> Iterator[tuple[int, Result]]:
        """Position and result of each scan, by this process and its own; `begun` is told of each."""
        ...

    def open(self, max_memory: int | None) -> OpenedWork[Item, Result]:
        """Load what a worker needs for every scan; it keeps to so much memory, None: to what it has."""
        ...

    def lost(self, item: Item, reason: str, attempts: int) -> Result:
        """The result of a scan whose workers have died, so many of them; its record says so."""
        ...

    def problem(self, result: Result) -> str:
        """Why a scan has failed, or ''."""
        ...
