"""Tells of each scan to those who watch: a line of JSON in the events, and the sight on the terminal."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from volseg.cohort.events import EventFacts, EventLog
from volseg.cohort.place import Place, this_place
from volseg.cohort.sight import Sight


@dataclass
class Reporter:
    """What engines tell."""

    events: EventLog
    sight: Sight
    clock: Callable[[], float] = time.monotonic
    _begun: dict[str, float] = field(default_factory=dict)

    def begin(self, name: str, place: Place | None = None, attempt: int = 1) -> None:
        """A worker, without a place this process, has been given a scan."""
        host, process = place or this_place()
        self._begun[name] = self.clock()
        self.events.write("begin", scan=name, host=host, process=process, attempt=attempt)

    def end(self, name: str, problem: str, place: Place | None = None, attempt: int = 1) -> None:
        """A scan is done, or has failed by a problem."""
        host, process = place or this_place()
        seconds = round(self.clock() - self._begun.pop(name, self.clock()), 3)
        facts = EventFacts(
            scan=name, host=host, process=process, seconds=seconds, attempt=attempt, reason=problem
        )
        self.events.write("failed" if problem else "done", **facts)
        self.sight.done(name, host if place else "", failed=bool(problem))

    def retry(self, name: str, place: Place, attempt: int, reason: str) -> None:
        """A scan goes to another worker."""
        host, process = place
        self.events.write("retry", scan=name, host=host, process=process, attempt=attempt, reason=reason)
        self.sight.retry(name, reason)

    def lose(self, place: Place, reason: str) -> None:
        """A worker was lost."""
        host, process = place
        self.events.write("worker_lost", host=host, process=process, reason=reason)
