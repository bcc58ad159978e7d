"""Ctrl-C and SIGTERM heeded where work is whole: a long command saves what it has, then ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HEEDED = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A command that was asked to end and has saved what it had. `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """Whether a signal has asked the command to end."""

    def __init__(self) -> None:
        self.number: int | None = None

    def check(self) -> None:
        """Call this where work is whole.

        Raises:
            Stopped: a signal has come since the last call.
        """
        if self.number is not None:
            raise Stopped(self.number)


@contextmanager
def deferred_signals() -> Iterator[StopRequest]:
    """Note a signal for `Request.check` instead of breaking off; a second one acts at once.

    Python takes signals in its main thread only, so elsewhere nothing is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, _frame: FrameType | None) -> None:
        request.number = number
        signal.signal(number, earlier[signal.Signals(number)])

    earlier = {number: signal.getsignal(number) for number in HEEDED}
    for number in HEEDED:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
