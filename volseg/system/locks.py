"""Locks of folders: one process at a time writes there."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from volseg.errors import UserError
from volseg.system.files import readable_write_errors

LOCK = ".lock"
HELD = (errno.EAGAIN, errno.EACCES)
MISSING = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
log = logging.getLogger(__name__)


@contextmanager
def folder_lock(folder: Path, *, busy: str = "") -> Iterator[None]:
    """Hold a folder, which is made, against other processes while the body runs; it ends with the process.

    A folder that was made and is empty at the end is removed.

    `busy` says what is wrong where another process holds it; without it, this one waits. On a drive that
    has no locks the body runs without one, and a line says so.

    Raises:
        UserError: another process holds the folder.
        OutputError: the folder can't be written.
    """
    fresh = not folder.exists()
    with readable_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked_file(folder, busy)
    try:
        yield
    finally:
        with suppress(OSError):  # its folder may be gone
            (folder / LOCK).unlink()
        os.close(descriptor)
        if fresh and is_unused(folder):
            with suppress(OSError):  # another process has begun to write there
                folder.rmdir()


def is_unused(folder: Path) -> bool:
    """Whether a folder is not there, or holds nothing but a lock."""
    return not folder.exists() or all(entry.name == LOCK for entry in folder.iterdir())


def _open_locked_file(folder: Path, busy: str) -> int:
    """The lock file, open; again where the process that held it has removed it meanwhile."""
    while True:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock_file(descriptor, folder, busy)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), (folder / LOCK).stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock_file(descriptor: int, folder: Path, busy: str) -> None:
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:  # Windows
        return
    try:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except OSError as error:
            if error.errno not in HELD:
                raise
            if busy:
                raise UserError(f"{folder}: {busy}") from error
            log.info("%s: waiting for another process that writes there", folder)
            flock(descriptor, LOCK_EX)
    except OSError as error:
        if error.errno not in MISSING:
            raise
        reason = os.strerror(error.errno)
        log.warning("%s: no lock on this drive (%s); let no other command write there", folder, reason)
