"""volseg's log in a file, such as a run's."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from volseg import console
from volseg.system.files import readable_write_errors


class _LogFile(logging.FileHandler):
    """A file of log lines; one that can't be written ends the command instead of printing a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        with readable_write_errors(Path(self.baseFilename)):
            raise error

    def close(self) -> None:
        with suppress(OSError):  # told when the line was logged
            super().close()


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append volseg's log to a file as well.

    Raises:
        OutputError: a line can't be written, as on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(console.FORMAT))
    log = logging.getLogger("volseg")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
