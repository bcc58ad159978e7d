"""Data workers that say what they work on, so that the end of one is told with scan, step and reason."""

import re
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import RawArray

from volseg.errors import UserError
from volseg.system.hardware import out_of_memory_kills

ROWS = 256
"""Of the table; as many workers can be told apart."""
SEEN = re.compile(r"DataLoader worker \(pid(?:\(s\))? (\d+)[^)]*\)(?: is killed by signal: ([^.]*))?")


class WorkerTable:
    """What each worker is doing, in memory that all share: process, step, and place in the batch."""

    def __init__(self) -> None:
        self._rows = RawArray("q", 3 * ROWS)
        self._kills = out_of_memory_kills()

    def enter(self, worker: int, *, process: int, step: int, scan: int) -> None:
        """Say what a worker begins."""
        row = 3 * (worker % ROWS)
        self._rows[row : row + 3] = [process, step, scan]

    def work_of(self, process: int) -> tuple[int, int] | None:
        """The step and the number of the scan that a process has begun last."""
        for row in range(0, len(self._rows), 3):
            if self._rows[row] == process:
                return self._rows[row + 1], self._rows[row + 2]
        return None

    def dead_processes(self) -> list[int]:
        """The processes of the table that are no more."""
        import psutil

        gone = []
        for process in filter(None, self._rows[::3]):
            try:
                ended = psutil.Process(process).status() == psutil.STATUS_ZOMBIE
            except psutil.NoSuchProcess:
                ended = True
            gone += [process] * ended
        return gone

    def memory_ran_out(self) -> bool | None:
        """Whether the system has killed for want of memory since the table was made; None: unknown."""
        now = out_of_memory_kills()
        return None if now is None or self._kills is None else now > self._kills


@dataclass(frozen=True)
class WorkerFailure:
    """An exception of a worker, sent instead of a batch; `is_user_error` says that it is a UserError."""

    text: str
    is_user_error: bool

    @classmethod
    def from_exception(cls, error: Exception, where: str) -> "WorkerFailure":
        """An exception and where it was raised, with the cause that MONAI may have wrapped."""
        for cause in _exception_chain(error):
            if isinstance(cause, UserError):
                return cls(f"{where}: {cause}", is_user_error=True)
            if isinstance(cause, MemoryError) or "allocate memory" in str(cause):
                return cls(f"{where}: memory ran out; {LESS}", is_user_error=True)
            if "shared memory" in str(cause) or "No space left" in str(cause):
                return cls(f"{where}: {SHARED}", is_user_error=True)
        return cls(f"{where}: {''.join(traceback.format_exception(error))}", is_user_error=False)

    def to_exception(self) -> Exception:
        """What the parent raises."""
        return UserError(self.text) if self.is_user_error else RuntimeError(self.text)


LESS = "set data.cache=disk or train.workers=0, or make train.patch or train.batch smaller"
SHARED = (
    "the shared memory of /dev/shm is full; make it larger (docker run --shm-size=2g) or set train.workers=0"
)


@contextmanager
def user_errors(table: WorkerTable | None = None, names: list[str] | None = None) -> Iterator[None]:
    """Bring out the UserError that others have wrapped, and say of a dead worker what it worked on.

    Raises:
        UserError: the body failed by one, or a worker died.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        for cause in _exception_chain(error):
            if isinstance(cause, UserError):
                raise cause from error
        told = [seen for cause in _exception_chain(error) if (seen := SEEN.search(str(cause)))]
        if told:
            process, ended = int(told[0][1]), next((s[2] for s in told if s[2]), None)
            raise UserError(_death_message(process, ended, table, names or [])) from error
        if not isinstance(error, RuntimeError) and table and (dead := table.dead_processes()):
            raise UserError(_death_message(dead[0], None, table, names or [])) from error
        raise


def _death_message(process: int, ended: str | None, table: WorkerTable | None, names: list[str]) -> str:
    begun = table.work_of(process) if table else None
    where = f"{names[begun[1]]}, step {begun[0]}" if begun else "before its first patch"
    number = next((one for one in signal.Signals if signal.strsignal(one) == ended), None)
    told = f" ({number.name})" if number else ""
    return f"{where}: the data worker (process {process}) {_death_reason(number, told, table)}"


def _death_reason(number: signal.Signals | None, told: str, table: WorkerTable | None) -> str:
    if number == signal.SIGBUS:
        return f"was ended{told}: {SHARED}"
    if number == signal.SIGKILL:
        ran_out = table.memory_ran_out() if table else None
        if ran_out:
            return f"was killed{told}: the system's memory ran out; {LESS}"
        if ran_out is None:
            return f"was killed{told}, most likely since the system's memory ran out; {LESS}"
        return f"was killed{told} from outside, memory had not run out; go on with --resume"
    if number is None:
        return f"ended without a word; {LESS}, or see with train.workers=0 whether it happens there"
    return (
        f"crashed{told}; a file of this scan may be bad: run `volseg prepare` again, "
        "or see with train.workers=0 where it crashes"
    )


def _exception_chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those behind it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def init_worker(_worker: int) -> None:
    """Leave Ctrl-C and SIGTERM to the parent, which saves what it has before it ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
