"""Who may write: one tab of one server at a time for each scan."""

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from volseg.errors import UserError
from volseg.system.locks import folder_lock
from volseg.viewer.refusal import RefusedError

LAPSES_S = 30.0  # without a sign of the tab that writes, as when it was closed without a word
BUSY = "another volseg is writing this scan; close it there, or look at it here without changing it"
SECOND = "another tab is writing this scan; close it there, or look at it here without changing it"
GONE = "another tab has taken over this scan; reload the page to see what is there now"


@dataclass
class _Writer:
    """A tab that writes; `lock` keeps other processes away while it does."""

    key: str
    lock: ExitStack
    seen: float


@dataclass
class Writers:
    """The tabs that write, by scan; `clock` tells seconds.

    A tab of which nothing was heard for LAPSES_S loses its place to whoever asks for it; it has it again if
    nobody did. A file locked in the scan's folder does the same between servers.
    """

    clock: Callable[[], float] = time.monotonic
    _writers: dict[str, _Writer] = field(default_factory=dict)
    _issued: dict[str, str] = field(default_factory=dict)
    _mutex: threading.RLock = field(default_factory=threading.RLock)

    def enter(self, name: str, folder: Path) -> str:
        """The key of a tab that writes a scan from now on.

        Raises:
            RefusedError: another tab or another server has the scan.
        """
        with self._mutex:
            self.drop_silent()
            if name in self._writers:
                raise RefusedError(409, SECOND)
            key = secrets.token_urlsafe(16)
            self._take(name, folder, key)
            self._issued[key] = name
            return key

    def renew(self, name: str, folder: Path, key: str) -> None:
        """Note that a tab is still there; where it had lapsed and nobody else came, it writes again.

        Raises:
            RefusedError: it never was this scan's, or another tab or server has the scan now.
        """
        with self._mutex:
            self.drop_silent()
            if self._issued.get(key) != name:
                raise RefusedError(409, "this tab may only look: it does not have the scan")
            writer = self._writers.get(name)
            if writer is None:
                self._take(name, folder, key)
            elif writer.key != key:
                raise RefusedError(409, GONE)
            else:
                writer.seen = self.clock()

    def leave(self, name: str, key: str) -> None:
        """Let go of a scan; nothing happens for a key that does not have it."""
        with self._mutex:
            writer = self._writers.get(name)
            if writer and writer.key == key:
                self._writers.pop(name).lock.close()
            self._issued.pop(key, None)

    def drop_silent(self) -> None:
        """Let go of the scans whose tabs have not been heard of for too long."""
        with self._mutex:
            for name, writer in list(self._writers.items()):
                if self.clock() - writer.seen > LAPSES_S:
                    self._writers.pop(name).lock.close()

    def close(self) -> None:
        """Let go of all scans."""
        with self._mutex:
            for writer in self._writers.values():
                writer.lock.close()
            self._writers.clear()

    def _take(self, name: str, folder: Path, key: str) -> None:
        lock = ExitStack()
        try:
            lock.enter_context(folder_lock(folder, busy=BUSY))
        except UserError as error:
            raise RefusedError(409, str(error)) from error
        self._writers[name] = _Writer(key, lock, self.clock())
