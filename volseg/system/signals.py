"""Ctrl-C and SIGTERM deferred to where a long command can save its work and end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

DEFERRED = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The end of a command by a signal of this number, its work saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """The number of the signal that asked the command to end, or None."""

    def __init__(self) -> None:
        self.number: int | None = None

    def check(self) -> None:
        """Raise Stopped here, where work is saved, if a signal has come."""
        if self.number is not None:
            raise Stopped(self.number)


@contextmanager
def deferred_signals() -> Iterator[StopRequest]:
    """Note a signal for `StopRequest.check` instead of breaking off; a second one acts at once.

    Python takes signals in its main thread only, so elsewhere none is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, _frame: FrameType | None) -> None:
        request.number = number
        signal.signal(number, earlier[signal.Signals(number)])

    earlier = {number: signal.getsignal(number) for number in DEFERRED}
    for number in DEFERRED:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
