"""Scans on the nodes of a Ray cluster: Ray places workers and notices their deaths, all else is done here.

Ray repeats nothing: it would spend its repeats in moments, before it knows that a node is dead, and could not
give a scan less memory. Scans that are lost with a worker go to another one, where the records of what is
done keep it from being done again.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import ray
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayError, RayTaskError

from volseg.cohort.place import Place
from volseg.cohort.ray_cluster import LOST, Cluster, Slot, first_line
from volseg.cohort.ray_workers import Ended, Opened, Worker
from volseg.cohort.reporter import Reporter
from volseg.cohort.todo import MOST_ATTEMPTS, Item, Result, Task, Todo
from volseg.cohort.work import Work
from volseg.errors import UserError

IN_HAND = 2  # scans of a worker: it does not wait for the next
LOOK_S = 5.0  # between two looks at which nodes there are
PATIENCE_S = 120.0  # without any node that can work
TAKEN = "another worker had begun with it meanwhile"
log = logging.getLogger(__name__)


@dataclass
class Member(Generic[Item]):
    """A worker in its slot: `hand` are the scans that it has, by what Ray calls their results.

    `opening` is its answer that it is ready, until that is there; `limit` is the memory that it keeps to.
    """

    slot: Slot
    actor: Any
    max_memory: int | None
    opening: Any
    place: Place
    limit: int = 0
    hand: dict[Any, Task[Item]] = field(default_factory=dict)

    @property
    def awaited(self) -> list[Any]:
        """What it is to answer."""
        return [*self.hand] if self.opening is None else [self.opening]


class RayEngine(Generic[Item, Result]):
    """The scans, those who work on them, and what they have in hand."""

    def __init__(
        self, work: Work[Item, Result], items: Sequence[Item], cluster: Cluster, reporter: Reporter
    ) -> None:
        """Nothing is begun yet."""
        self._work, self._cluster, self._reporter = work, cluster, reporter
        self._todo = Todo(work, items)
        self._crew: dict[Slot, Member[Item]] = {}
        self._slots: list[Slot] = []
        self._failures: Counter[Slot] = Counter()  # of opening, one after another
        self._failure = ""
        self._looked, self._had_slots = -LOOK_S, time.monotonic()
        self._shared = ray.put(work)

    def results(self) -> Iterator[tuple[int, Result]]:
        """Position and result of each scan as it ends.

        Raises:
            UserError: no node can work, or the head is lost.
        """
        try:
            while self._todo or any(member.hand for member in self._crew.values()):
                self._cluster.check_head()
                self._look_for_nodes()
                self._staff()
                self._hand_out()
                for member, answer in self._answers():
                    yield from self._collect(member, answer)
        except RayTaskError as error:  # of the work itself, such as a full disk
            raise error.cause from error
        except (RayError, ConnectionError) as error:
            log.debug("%s", error)
            raise UserError(LOST) from error
        finally:
            for member in () if self._cluster.is_lost else self._crew.values():
                self._dismiss(member)

    def _look_for_nodes(self) -> None:
        """See from time to time which nodes there are; some may have come.

        Raises:
            UserError: for long there has been none that can work.
        """
        now = time.monotonic()
        if now < self._looked + LOOK_S:
            return
        slots = self._cluster.slots(self._work)
        self._looked = time.monotonic()
        self._slots = [slot for slot in slots if self._failures[slot] < MOST_ATTEMPTS]
        if self._slots:
            self._had_slots = self._looked
        elif slots:
            raise UserError(f"{self._work.label}: no worker could begin: {self._failure}")
        elif self._looked > self._had_slots + PATIENCE_S:
            raise UserError(f"{self._work.label}: the cluster has no node that could work")

    def _staff(self) -> None:
        """Give each free slot a worker that some scan needs; one that none needs makes room."""
        wanted = self._todo.limits_wanted
        for member in [one for one in self._crew.values() if wanted and not one.awaited]:
            if member.max_memory not in wanted:
                self._dismiss(self._crew.pop(member.slot))
        for slot in self._slots:
            served = {member.max_memory for member in self._crew.values()}
            own = min((limit for limit in wanted if limit is not None and limit not in served), default=None)
            if slot not in self._crew and (own is not None or None in wanted):
                self._hire(slot, own)

    def _hire(self, slot: Slot, max_memory: int | None) -> None:
        """Have a worker begin."""
        options = slot.options() | {"max_concurrency": self._work.at_once}
        kind: Any = ray.remote(Worker)
        actor = kind.options(**options).remote(self._shared, max_memory, str(Path.cwd()))
        self._crew[slot] = Member(slot, actor, max_memory, actor.open.remote(), Place(slot.host, ""))

    def _dismiss(self, member: Member[Item]) -> None:
        """End a worker, whatever it does."""
        with suppress(RayError, ConnectionError, ValueError):
            self._cluster.ask(lambda: ray.kill(member.actor))

    def _hand_out(self) -> None:
        """Give each worker its first scan, then each its next."""
        ready = [member for member in self._crew.values() if member.opening is None]
        for count in range(IN_HAND):
            for member in ready:
                if len(member.hand) == count and not any(task.alone for task in member.hand.values()):
                    self._give(member)

    def _give(self, member: Member[Item]) -> None:
        """Give a worker a scan, if there is one for it."""
        task = self._todo.take(member.max_memory, idle=not member.hand)
        if task:
            member.hand[member.actor.do.remote(task.item, task.attempt)] = task
            self._reporter.begin(task.name, member.place, task.attempt)

    def _answers(self) -> list[tuple[Member[Item], Any]]:
        """What has come from workers, within a second."""
        senders = {answer: member for member in self._crew.values() for answer in member.awaited}
        if not senders:
            time.sleep(0.2)
            return []
        come, _ = ray.wait(list(senders), timeout=1.0)
        return [(senders[answer], answer) for answer in come]

    def _collect(self, member: Member[Item], answer: Any) -> Iterator[tuple[int, Result]]:
        """What an answer brings: a worker that is ready, the result of a scan, or a worker's death."""
        try:
            value = ray.get(answer)
        except RayTaskError:
            raise
        except RayError as error:
            yield from self._lose(member, error)
            return
        if isinstance(value, Opened):
            member.opening, member.place, member.limit = None, value.place, value.max_memory
            self._failures[member.slot] = 0
            self._count_workers(member.slot.host)
        else:
            yield from self._end(member, member.hand.pop(answer), value)

    def _end(
        self, member: Member[Item], task: Task[Item], ended: Ended[Result]
    ) -> Iterator[tuple[int, Result]]:
        """The result of a scan, unless another worker has taken it."""
        for level, line in ended.lines:
            log.log(level, "%s", line)
        if ended.result is None:
            yield from self._repeat(member, task, TAKEN, None)
            return
        problem = self._work.problem(ended.result)
        self._reporter.end(task.name, problem, member.place, task.attempt)
        yield task.position, ended.result

    def _lose(self, member: Member[Item], error: RayError) -> Iterator[tuple[int, Result]]:
        """Put back what a worker had that is dead, or can't be reached and so counts as dead."""
        self._crew.pop(member.slot)
        self._dismiss(member)
        reason, limit = f"the node {member.place.host} was lost", None
        if isinstance(error, OutOfMemoryError):
            reason, limit = f"its process on {member.place.host} took too much memory", member.limit // 2
        elif self._died_alone(member, error):
            why = "was killed, perhaps for want of memory"
            reason, limit = f"its process on {member.place.host} {why}", member.limit // 2
        log.debug("%s", error)
        self._failure = f"{member.place.host}: {first_line(error)}"
        self._failures[member.slot] += member.opening is not None
        self._looked = -LOOK_S
        self._reporter.lose(member.place, reason)
        self._count_workers(member.slot.host)
        tasks = []
        for answer, task in member.hand.items():
            ended = _result_of(answer)
            if ended is None:
                tasks.append(task)
            else:  # it came just before the worker's death
                yield from self._end(member, task, ended)
        for task in tasks[self._work.at_once :]:  # which had not begun
            self._todo.put_back(task)
        for task in tasks[: self._work.at_once]:
            yield from self._repeat(member, task, reason, limit)

    def _died_alone(self, member: Member[Item], error: RayError) -> bool:
        """Whether a worker's process is dead, and its node is not."""
        died = isinstance(error, ActorDiedError) and "node has died" not in str(error)
        return died and self._cluster.is_alive(member.slot.node)

    def _repeat(
        self, member: Member[Item], task: Task[Item], reason: str, limit: int | None
    ) -> Iterator[tuple[int, Result]]:
        """Put a scan back, or give it up after the third time."""
        if task.attempt < MOST_ATTEMPTS:
            self._reporter.retry(task.name, member.place, task.attempt, reason)
            self._todo.put_back(task.again(limit))
            return
        result = self._work.lost(task.item, reason, task.attempt)
        self._reporter.end(task.name, self._work.problem(result), member.place, task.attempt)
        yield task.position, result

    def _count_workers(self, host: str) -> None:
        """Tell how many workers a host has now."""
        count = sum(member.slot.host == host and not member.opening for member in self._crew.values())
        self._reporter.sight.workers(host, count)


def _result_of(answer: Any) -> Ended[Any] | None:
    """The result that a dead worker had still given, None where it had not."""
    try:
        ended: Ended[Any] = ray.get(answer, timeout=1)
    except RayTaskError:
        raise
    except RayError:
        return None
    return ended
