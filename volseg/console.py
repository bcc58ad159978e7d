"""Log lines and progress bars on stderr."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

FORMAT = "%(asctime)s %(message)s"
QUIET = logging.CRITICAL
_BARS_SHOWN: ContextVar[bool] = ContextVar("bars", default=True)


class _StderrHandler(logging.Handler):
    """Writes to what stderr is now: a progress bar puts itself in its place, to stay below all lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # as handlers of the standard library do
            self.handleError(record)


def configure_logging() -> None:
    """Send volseg's log to stderr."""
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter(FORMAT, "%H:%M:%S"))
    log = logging.getLogger("volseg")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.INFO)


@contextmanager
def suppress_output(*, unless: bool = False) -> Iterator[None]:
    """No log lines and no progress bar while the body runs, as another process shows the same."""
    log = logging.getLogger("volseg")
    before = log.level
    if not unless:
        log.setLevel(QUIET)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def bars(*, shown: bool) -> Iterator[None]:
    """Draw progress bars while the body runs, or draw none."""
    before = _BARS_SHOWN.set(shown)
    try:
        yield
    finally:
        _BARS_SHOWN.reset(before)


def bars_shown() -> bool:
    """Whether bars are drawn: not where stderr is no terminal, they are off, or the process is quiet."""
    quiet = logging.getLogger("volseg").level == QUIET
    return sys.stderr.isatty() and _BARS_SHOWN.get() and not quiet


class ProgressCallback(Protocol):
    """A function that moves a progress bar."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total`, and a short text behind the bar."""


@contextmanager
def progress_bar(label: str, *, shown: bool = True) -> Iterator[ProgressCallback]:
    """A bar with the time left; none where none are shown."""
    if not (shown and bars_shown()):
        yield lambda done, total, note="": None  # noqa: ARG005
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[note]}"),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def report(done: int, total: int, note: str = "") -> None:
            if not bar.tasks:  # items of before do not count in the time left
                bar.add_task(label, total=total, completed=done, note=note)
            bar.update(bar.tasks[0].id, completed=done, total=total, note=note)

        yield report
