"""The events of a run for TensorBoard."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorboard.compat.proto import event_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary

from volseg.system.files import readable_write_errors
from volseg.visualization.overlay import Picture


class Board:
    """A file of events, written by `write_events` once the run's own files are.

    TensorBoard's own writer leaves that to a thread, where a full disk ends in a traceback.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        """Begin a file; of older ones in the folder TensorBoard forgets what is at or behind the first step.

        Raises:
            OutputError: the folder can't be written.
        """
        self._events: list[Any] = []
        self._path = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        with readable_write_errors(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
        self._records: Any = RecordWriter(self._file)
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._add_event(file_version="brain.Event:2")
        self._add_event(step=first_step, session_log=start)
        self.write_events()

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Add a number."""
        self._add_event(step=step, summary=summary.scalar(name, value))  # type: ignore[no-untyped-call]

    def add_picture(self, name: str, picture: Picture, step: int) -> None:
        """Add a picture (rows, columns, RGB)."""
        image = summary.image(name, picture, dataformats="HWC")  # type: ignore[no-untyped-call]
        self._add_event(step=step, summary=image)

    def _add_event(self, **fields: Any) -> None:
        self._events.append(event_pb2.Event(wall_time=time.time(), **fields))

    def write_events(self) -> None:
        """Write what was added.

        Raises:
            OutputError: the file can't be written, as on a full disk.
        """
        with readable_write_errors(self._path):
            for event in self._events:
                self._records.write(event.SerializeToString())
            self._records.flush()
        self._events.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what was written is flushed, or its fault was told
            self._file.close()
