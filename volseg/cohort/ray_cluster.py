"""A Ray cluster: how it is reached, whether its head still answers, and which of its nodes can work."""

import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from volseg.cohort.ray_workers import NodeFacts, facts_here, node_probe
from volseg.cohort.work import Item, Work
from volseg.errors import UserError

LOST = "the head of the cluster is lost; what is done stays done: run the same command again to go on"
PROBE_S = 120.0
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


class Slot(NamedTuple):
    """The place of one worker on a node, and what it has there."""

    node: str
    number: int
    host: str
    cpus: float
    gpus: float
    memory: int

    def options(self) -> dict[str, Any]:
        """What Ray is asked for; it restarts and repeats nothing."""
        here = NodeAffinitySchedulingStrategy(self.node, soft=False)
        given = {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory or None}
        return {**given, "scheduling_strategy": here, "max_restarts": 0, "max_task_retries": 0}


@dataclass
class Cluster:
    """A cluster that this process is connected with."""

    head: tuple[str, int]
    _silent: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)
    _refused: set[str] = field(default_factory=set)
    _checked: set[str] = field(default_factory=set)

    def watch_head(self) -> None:
        """Ask again and again whether the head answers, until the end."""
        while not self._ended.wait(1.0):
            try:
                socket.create_connection(self.head, 5.0).close()
            except OSError:
                self._silent += 1
            else:
                self._silent = 0

    @property
    def is_lost(self) -> bool:
        """Whether the head has not answered several times."""
        return self._silent >= 3

    def check_head(self) -> None:
        """Raise a UserError if the head is lost."""
        if self.is_lost:
            raise UserError(LOST)

    def stop_watching(self) -> None:
        """Ask no more."""
        self._ended.set()

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive."""
        return [node for node in self.ask(ray.nodes) if node["Alive"]]

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """The answer of the head, for which Ray would wait a minute after it is lost."""
        answers: list[Answer] = []
        asking = threading.Thread(target=lambda: answers.append(question()), daemon=True)
        asking.start()
        while asking.is_alive():
            self.check_head()
            asking.join(0.5)
        self.check_head()
        if not answers:
            raise UserError(LOST)
        return answers[0]

    def is_alive(self, node: str) -> bool:
        """Whether a node is alive."""
        return any(one["NodeID"] == node for one in self.nodes())

    def slots(self, work: Work[Item, Any]) -> list[Slot]:
        """The places for workers on all nodes that can work.

        Raises:
            UserError: the nodes that are there from the start don't fit: all of them.
        """
        nodes = [node for node in self.nodes() if node["NodeID"] not in self._refused]
        on_gpu = work.on_gpu and any(node["Resources"].get("GPU") for node in nodes)
        able = [node for node in nodes if node["Resources"].get("GPU" if on_gpu else "CPU", 0) >= 1]
        self._check_nodes(able, [Path.cwd(), *work.folders])
        fit = (node for node in able if node["NodeID"] in self._checked - self._refused)
        return [slot for node in fit for slot in node_slots(node, work, on_gpu=on_gpu)]

    def _check_nodes(self, nodes: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> None:
        """Compare nodes that are new with this process; of later ones, those that don't fit do no work."""
        new, first = [node for node in nodes if node["NodeID"] not in self._checked], not self._checked
        here, problems = facts_here(), []
        answers = self.ask(lambda: probed([node["NodeID"] for node in new], folders)) if new else []
        for node, facts in zip(new, answers, strict=True):
            if facts is None:
                continue  # it comes or goes just now
            self._checked.add(node["NodeID"])
            wrong = here.differences(facts)
            if wrong:
                problems.append(f"node {host_of(node)}: {', '.join(wrong)}")
                self._refused.add(node["NodeID"])
        if problems and first:
            raise UserError.from_problems(f"{problem}; all nodes need the same" for problem in problems)
        for problem in problems:
            log.warning("%s; it gets no work", problem)


def node_slots(node: Mapping[str, Any], work: Work[Item, Any], *, on_gpu: bool) -> list[Slot]:
    """The places on a node: one a GPU or, of the cores that a worker takes, as many as its memory allows."""
    has = node["Resources"]
    cpus, gpus, memory = int(has.get("CPU", 0)), int(has.get("GPU", 0)), int(has.get("memory", 0))
    count = gpus if on_gpu else max(1, cpus // (work.cores or cpus))
    if work.memory and not on_gpu:
        count = max(1, min(count, memory // work.memory))
    each = cpus // count if work.cores is None else min(work.cores, cpus)
    asked = min(work.memory, memory // count)
    gpu = 1.0 if on_gpu else 0.0
    return [Slot(node["NodeID"], n, host_of(node), each, gpu, asked) for n in range(count)]


def host_of(node: Mapping[str, Any]) -> str:
    """The name of a node's machine."""
    return str(node["NodeManagerHostname"])


def probed(nodes: Sequence[str], folders: Sequence[Path]) -> list[NodeFacts | None]:
    """The facts of each of these nodes, None where it does not answer."""
    task = ray.remote(num_cpus=0, max_retries=0)(node_probe(folders))
    asked = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for node in nodes
    ]
    return [_answer(one) for one in asked]


def _answer(asked: Any) -> NodeFacts | None:
    try:
        return NodeFacts(*ray.get(asked, timeout=PROBE_S))
    except RayError as error:
        log.debug("%s", error)
        return None


def first_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
