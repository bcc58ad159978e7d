"""What happens to the scans of a cohort, a line of JSON an event, for other tools."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypedDict, Unpack

from volseg.system.files import readable_write_errors

Event = Literal["begin", "done", "failed", "retry", "worker_lost", "end"]


class EventFacts(TypedDict, total=False):
    """What can be told of an event: the scan, where it was worked on, how long, at which try, and why."""

    scan: str
    host: str
    process: str
    seconds: float | None
    attempt: int
    reason: str


_UNTOLD = EventFacts(scan="", host="", process="", seconds=None, attempt=1, reason="")


def utc_now() -> str:
    """The time in UTC, ISO 8601, to milliseconds: `2026-01-02T10:00:00.123Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EventLog:
    """A file to which a line is added for each event; without a path nothing is written.

    A line is written in one piece behind all that is there, so that others may read the file, and other
    processes of this machine write into it, meanwhile.
    """

    def __init__(self, path: Path | None, work_label: str) -> None:
        """Open the file, which is made with its folder.

        Raises:
            OutputError: it can't be written.
        """
        self._path, self._work, self._file = path, work_label, -1
        if path is not None:
            with readable_write_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def write(self, event: Event, **facts: Unpack[EventFacts]) -> None:
        """Add an event, each with the same keys.

        Raises:
            OutputError: the disk is full.
        """
        if self._path is None or self._file < 0:
            return
        told = {"time": utc_now(), "event": event, "work": self._work, **_UNTOLD, **facts}
        with readable_write_errors(self._path):
            os.write(self._file, f"{json.dumps(told)}\n".encode())
