"""What the user sees while a command works: log lines and progress bars, all on stderr."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FORMAT = "%(asctime)s %(message)s"
CLOCK = "%H:%M:%S"


def configure(*, verbose: bool = False, quiet: bool = False) -> None:
    """Send volseg's log to stderr; `quiet` leaves only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT, CLOCK))
    log = logging.getLogger("volseg")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append volseg's log to a file as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    log = logging.getLogger("volseg")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


Advance = Callable[..., None]
"""`advance(1)` moves the bar; `advance(1, note="loss 0.31")` also sets the text behind it."""


@contextmanager
def progress(label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
    """A bar with the time left; nothing at all where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _steps=1, note="": None
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
        task = bar.add_task(label, total=total, completed=done, note="")

        def advance(steps: int = 1, note: str | None = None) -> None:
            bar.update(task, advance=steps, **({} if note is None else {"note": note}))

        yield advance
