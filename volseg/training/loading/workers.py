"""Data workers whose death is reported with the scan, the step and the reason."""

import re
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import RawArray

from volseg.errors import UserError
from volseg.system.hardware import out_of_memory_kills

ROWS = 256  # rows of the table: the workers that it can tell apart
DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? (\d+)[^)]*\)(?: is killed by signal: ([^.]*))?")
LESS = "set data.cache=disk or train.workers=0, or make train.patch or train.batch smaller"
SHARED = (
    "the shared memory of /dev/shm is full; make it larger (docker run --shm-size=2g) or set train.workers=0"
)


class WorkerTable:
    """The process, step and scan of each worker, in memory that all processes share."""

    def __init__(self) -> None:
        self._rows = RawArray("q", 3 * ROWS)
        self._kills = out_of_memory_kills()

    def enter(self, worker: int, *, process: int, step: int, scan: int) -> None:
        """Record the work that a worker begins."""
        row = 3 * (worker % ROWS)
        self._rows[row : row + 3] = [process, step, scan]

    def work_of(self, process: int) -> tuple[int, int] | None:
        """The step and the index of the scan that a process has begun last."""
        rows = zip(self._rows[::3], self._rows[1::3], self._rows[2::3], strict=True)
        return next(((step, scan) for owner, step, scan in rows if owner == process), None)

    def dead_processes(self) -> list[int]:
        """The processes of the table that have ended."""
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


def portable_error(error: Exception, where: str) -> UserError | RuntimeError:
    """The exception that a worker sends for its own: a UserError where MONAI or torch has wrapped one."""
    for cause in _exception_chain(error):
        if isinstance(cause, UserError):
            return UserError(f"{where}: {cause}")
        if isinstance(cause, MemoryError) or "allocate memory" in str(cause):
            return UserError(f"{where}: memory ran out; {LESS}")
        if "shared memory" in str(cause) or "No space left" in str(cause):
            return UserError(f"{where}: {SHARED}")
    return RuntimeError(f"{where}: {''.join(traceback.format_exception(error))}")


@contextmanager
def user_errors(table: WorkerTable | None = None, names: list[str] | None = None) -> Iterator[None]:
    """Raise the UserError that other exceptions wrap, and one that names the work of a dead worker.

    Raises:
        UserError: raised within the body, or a worker died.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        for cause in _exception_chain(error):
            if isinstance(cause, UserError):
                raise cause from error
        matches = [match for cause in _exception_chain(error) if (match := DIED.search(str(cause)))]
        if matches:
            process, ended = int(matches[0][1]), next((match[2] for match in matches if match[2]), None)
            raise UserError(_death_message(process, ended, table, names or [])) from error
        if not isinstance(error, RuntimeError) and table and (dead := table.dead_processes()):
            raise UserError(_death_message(dead[0], None, table, names or [])) from error
        raise


def _death_message(process: int, ended: str | None, table: WorkerTable | None, names: list[str]) -> str:
    work = table.work_of(process) if table else None
    where = f"{names[work[1]]}, step {work[0]}" if work else "before its first patch"
    number = next((number for number in signal.Signals if signal.strsignal(number) == ended), None)
    return f"{where}: the data worker (process {process}) {_death_reason(number, table)}"


def _death_reason(number: signal.Signals | None, table: WorkerTable | None) -> str:
    if number is None:
        return f"ended without a word; {LESS}, or see with train.workers=0 whether it happens there"
    if number == signal.SIGBUS:
        return f"was ended (SIGBUS): {SHARED}"
    if number == signal.SIGKILL:
        ran_out = table.memory_ran_out() if table else None
        if ran_out:
            return f"was killed (SIGKILL): the system's memory ran out; {LESS}"
        if ran_out is None:
            return f"was killed (SIGKILL), most likely since the system's memory ran out; {LESS}"
        return "was killed (SIGKILL) from outside, memory had not run out; go on with --resume"
    return (
        f"crashed ({number.name}); a file of this scan may be bad: run `volseg prepare` again, "
        "or see with train.workers=0 where it crashes"
    )


def _exception_chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def init_worker(_worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM: the parent saves its state and then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
