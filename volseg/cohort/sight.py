"""What a person sees of a cohort at work: a table by node, a bar, or a line now and then."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from volseg import console
from volseg.formatting import format_count, format_duration, natural_key

if TYPE_CHECKING:
    from rich.table import Table

WINDOW_S = 300.0  # the rate is that of the last minutes
LINE_S = 30.0  # at least, between two lines of a log
log = logging.getLogger("volseg.cohort")


@dataclass
class Counts:
    """What one node, or all together, have done; `times` are those of the scans of the last minutes."""

    workers: int = 0
    done: int = 0
    failed: int = 0
    times: deque[float] = field(default_factory=deque)

    def add(self, now: float, *, failed: bool) -> None:
        """Count a scan that is done or has failed now."""
        self.failed += failed
        self.done += not failed
        self.times.append(now)

    def per_minute(self, now: float) -> float:
        """Scans a minute since the first of the last minutes, 0 where there are fewer than two."""
        while self.times and self.times[0] < now - WINDOW_S:
            self.times.popleft()
        return 60 * (len(self.times) - 1) / max(now - self.times[0], 0.001) if len(self.times) > 1 else 0.0

    def cells(self, now: float) -> tuple[str, ...]:
        """The numbers as text."""
        return (*map(str, (self.workers, self.done, self.failed)), f"{self.per_minute(now):.3g}")


class Sight:
    """The counts of a cohort by node; `changed` is called with the name of each scan that ends."""

    def __init__(
        self, label: str, total: int, *, changed: Callable[["Sight", str], None], clock: Callable[[], float]
    ) -> None:
        self.label, self.total = label, total
        self.all, self.by_host = Counts(), dict[str, Counts]()
        self._changed, self._clock = changed, clock
        self._lock = threading.Lock()  # a table is drawn by a thread of its own

    def done(self, name: str, host: str, *, failed: bool) -> None:
        """Count a scan that has ended on a host, without one here."""
        with self._lock:
            for counts in (self.all, self._host(host)):
                counts.add(self._clock(), failed=failed)
        self._changed(self, name)

    def workers(self, host: str, count: int) -> None:
        """Note how many workers a host has now."""
        with self._lock:
            self._host(host).workers = count
            self.all.workers = sum(counts.workers for counts in self.by_host.values())

    def retry(self, name: str, reason: str) -> None:
        """Tell that a scan goes to another worker, and why."""
        log.warning("%s: once more, by another worker: %s", name, reason)

    def summary(self) -> str:
        """All in a line: what is done and left, at what rate, and how long the rest takes at that."""
        with self._lock:
            done, failed, rate = self.all.done, self.all.failed, self.all.per_minute(self._clock())
        left = self.total - done - failed
        parts = [f"{done} of {format_count(self.total, 'scan')} done", f"{failed} failed", f"{left} left"]
        parts += [f"{rate:.3g} a minute"] if rate else []
        parts += [f"{format_duration(60 * left / rate)} to go"] if rate and left else []
        return ", ".join(parts)

    def table(self) -> "Table":
        """A row a node, and one of all."""
        from rich.table import Table
        from rich.text import Text

        now = self._clock()
        caption = Text(self.summary(), style="default")
        table = Table(title=self.label, title_justify="left", caption=caption, caption_justify="left")
        table.add_column("node", overflow="fold")
        for header in ("workers", "done", "failed", "scans/min"):
            table.add_column(header, justify="right")
        with self._lock:
            hosts = sorted(self.by_host, key=natural_key)
            rows = {host: self.by_host[host].cells(now) for host in hosts}
            total = self.all.cells(now)
        for host, cells in rows.items():
            table.add_row(Text(host), *cells)
        if len(rows) > 1:
            table.add_section()
            table.add_row("all", *total)
        return table

    def __rich__(self) -> "Table":
        return self.table()

    def _host(self, host: str) -> Counts:
        return self.by_host.setdefault(host or "this machine", Counts())


@contextmanager
def progress(
    label: str, total: int, *, on: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[Sight]:
    """The sight of so many scans: `on` other machines a table by node, else a bar.

    Where stderr is no terminal there is a line in the log, at most every half minute.
    """
    if not console.bars_shown():
        yield Sight(label, total, changed=_log_lines(clock), clock=clock)
    elif on:
        sight = Sight(label, total, changed=lambda _sight, _name: None, clock=clock)
        with _live_table(sight):
            yield sight
    else:
        with console.progress_bar(label) as report:

            def move(sight: Sight, name: str) -> None:
                report(sight.all.done + sight.all.failed, total, name)

            yield Sight(label, total, changed=move, clock=clock)


@contextmanager
def unseen(
    label: str,
    total: int,
    *,
    on: bool,  # noqa: ARG001
) -> Iterator[Sight]:
    """The same, which nobody sees."""
    yield Sight(label, total, changed=lambda _sight, _name: None, clock=time.monotonic)


def _log_lines(clock: Callable[[], float]) -> Callable[[Sight, str], None]:
    """What writes a line for a log, if the last one, or the begin, is long enough ago."""
    last = clock()

    def write(sight: Sight, _name: str) -> None:
        nonlocal last
        if clock() - last >= LINE_S:
            last = clock()
            log.info("%s: %s", sight.label, sight.summary())

    return write


@contextmanager
def _live_table(sight: Sight) -> Iterator[None]:
    """The table on stderr, drawn anew each second; lines of the log go above it."""
    from rich.console import Console
    from rich.live import Live

    with Live(sight, console=Console(stderr=True), refresh_per_second=1):
        yield
