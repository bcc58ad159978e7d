"""The scans that are still to be done: the largest first, and those whose worker was lost once more."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from volseg.cohort.work import Work

MOST_ATTEMPTS = 3
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Task(Generic[Item]):
    """A scan to be done by a worker: its place among the items, and how often workers have begun with it.

    `max_memory` is what a worker of its own may take, None: any worker does it.
    """

    position: int
    item: Item
    name: str
    attempt: int = 1
    max_memory: int | None = None

    @property
    def alone(self) -> bool:
        """Whether a worker must do nothing beside it: it may have cost another worker its life."""
        return self.attempt > 1

    def again(self, max_memory: int | None) -> "Task[Item]":
        """The same scan for another worker."""
        return replace(self, attempt=self.attempt + 1, max_memory=max_memory or self.max_memory)


class Todo(Generic[Item]):
    """The tasks that no worker has; those that are put back come first."""

    def __init__(self, work: Work[Item, Any], items: Sequence[Item]) -> None:
        tasks = [Task(position, item, work.name(item)) for position, item in enumerate(items)]
        self._tasks = sorted(tasks, key=lambda task: -work.cost(task.item))
        self._tasks.reverse()  # the next one is the last
        self._limits: Counter[int | None] = Counter(task.max_memory for task in self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def limits_wanted(self) -> set[int | None]:
        """The limits of memory that tasks want a worker to have."""
        return {limit for limit, tasks in self._limits.items() if tasks}

    def take(self, max_memory: int | None, *, idle: bool) -> Task[Item] | None:
        """The next task for a worker with this limit of memory, which may be `idle`; None if it has none."""
        for place in reversed(range(len(self._tasks))):
            task = self._tasks[place]
            if task.max_memory == max_memory and (idle or not task.alone):
                self._limits[max_memory] -= 1
                return self._tasks.pop(place)
        return None

    def put_back(self, task: Task[Item]) -> None:
        """Give a task to the next worker that fits it."""
        self._tasks.append(task)
        self._limits[task.max_memory] += 1
