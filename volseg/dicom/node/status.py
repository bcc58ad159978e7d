"""How a node is: a file that it writes all the while, and what `volseg node --status` makes of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from volseg.errors import UserError
from volseg.formatting import format_bytes, format_duration
from volseg.system.json_files import JsonFile

if TYPE_CHECKING:
    from rich.table import Table

State = Literal["running", "draining", "stopped"]
DEAD_SECONDS, STUCK_SECONDS = 60.0, 120.0
"""A node that has written no status for so long is dead; a part of it that did nothing is stuck."""


class NodeStatus(JsonFile):
    """The content of `status.json`: numbers of jobs by state, and times in seconds since 1970 (0: never)."""

    file: ClassVar[str] = "status.json"
    state: State
    pid: int
    listens_at: str
    started: float
    updated: float
    receiving: int = 0
    waiting: int = 0
    running: int = 0
    sending: int = 0
    done: int = 0
    dead: int = 0
    last_success: float = 0
    last_failure: float = 0
    free_bytes: int = 0
    min_free_bytes: int = 0
    contouring_seen: float = 0
    sending_seen: float = 0

    def problems(self, now: float) -> Iterator[str]:
        """What keeps the node from its work."""
        if self.state == "stopped":
            yield "it was stopped"
        elif now - self.updated > DEAD_SECONDS:
            yield f"it is dead: no sign of life for {format_duration(now - self.updated)}"
        else:
            for part, seen in (("contouring", self.contouring_seen), ("sending", self.sending_seen)):
                if now - seen > STUCK_SECONDS:
                    yield f"{part} is stuck: nothing for {format_duration(now - seen)}"
        if self.free_bytes < self.min_free_bytes:
            yield f"images are refused: only {format_bytes(self.free_bytes)} are free"


def read_status(spool: Path) -> NodeStatus:
    """The last status that a node has written in its spool.

    Raises:
        UserError: it has never run.
    """
    status = NodeStatus.read(spool)
    if status is None:
        raise UserError(f"{spool}: no {NodeStatus.file}; no node has run with this spool")
    return status


def status_table(status: NodeStatus, now: float) -> "Table":
    """The status as a table for a terminal."""
    from rich.table import Table

    table = Table(show_header=False)
    problems = list(status.problems(now))
    rows = {
        "state": "; ".join(problems) or status.state,
        "listens at": status.listens_at,
        "receiving": f"{status.receiving} series",
        "waiting": str(status.waiting),
        "contouring": str(status.running),
        "sending": str(status.sending),
        "done": str(status.done),
        "dead letters": str(status.dead),
        "last success": _ago(status.last_success, now),
        "last failure": _ago(status.last_failure, now),
        "disk free": format_bytes(status.free_bytes),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _ago(moment: float, now: float) -> str:
    return f"{format_duration(max(0.0, now - moment))} ago" if moment else "never"
