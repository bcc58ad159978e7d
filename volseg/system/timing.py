"""Seconds spent by step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")


@dataclass
class StepTimer:
    """Seconds by step; those of a step within another are not counted twice."""

    by_step: dict[str, float] = field(default_factory=dict)
    _within: float = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of the body to a step."""
        before, self._within = self._within, 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - start
            self.add(StepTimer({name: took - self._within}))
            self._within = before + took

    def add(self, other: "StepTimer") -> None:
        """Add the seconds of another timer."""
        for name, spent in other.by_step.items():
            self.by_step[name] = self.by_step.get(name, 0.0) + spent

    def time_items(self, name: str, items: Iterator[Item]) -> Iterator[Item]:
        """The same items; the seconds until each comes are added to a step."""
        while True:
            with self.step(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
