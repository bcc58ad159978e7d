"""Atomic writing: a file or folder is whole under its name, or not there.

That holds when a command is killed. A file is on the disk before it gets its name, so it holds after a
power cut as well: what was written in the last seconds may be missing then, or be as before, but never half.
"""

import codecs
import csv
import errno
import hashlib
import io
import os
import shutil
import socket
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from volseg.errors import OutputError, UserError

PREFIX = ".partial-"
GZIP = b"\x1f\x8b"
TRAILER = 8  # bytes at the end of gzip: CRC-32 and length


def partial_path(path: Path) -> Path:
    """The temporary path beside a path, which no other process uses, be it on another host."""
    return path.with_name(f"{PREFIX}{socket.gethostname()}-{os.getpid()}-{path.name}")


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path with the same suffix in the same folder, which is made; rename it at the end.

    If the body raises, the temporary file is removed and `path` stays as it was. A file that need not be
    `durable` may be damaged by a power cut; it is written sooner by some milliseconds.

    Raises:
        OutputError: the disk is full or the folder can't be written.
    """
    temporary = partial_path(path)
    try:
        with readable_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():
                raise OutputError(f"{path}: can't be written: it is no file; name another")
            yield temporary
            if durable:
                sync_file(temporary)
            temporary.replace(path)
    finally:
        if temporary.exists():
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder beside `path`, which it replaces at the end.

    Where the system can't exchange two names in one step, a command that is killed between two steps leaves
    no folder of this name; the old one then lies beside it (`restore_folder`). If the body raises, the new
    folder is removed and `path` stays as it was. Errors are as of `atomic_path`.
    """
    temporary = partial_path(path)
    old = temporary.with_name(f"{temporary.name}-old")
    try:
        with readable_write_errors(path):
            temporary.mkdir(parents=True)
        yield temporary
        with readable_write_errors(path):
            if not (path.exists() and _exchange_names(temporary, path)):
                if path.exists():
                    path.rename(old)
                temporary.replace(path)
    finally:
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Put back a folder, and remove what is left beside it, of an `atomic_folder` that was killed.

    No other process may be writing the folder meanwhile.
    """
    left = sorted(path.parent.glob(f"{PREFIX}*-{path.name}*"))
    with readable_write_errors(path):
        for old in left:
            if old.name.endswith(f"-{path.name}-old") and not path.exists():
                old.rename(path)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)


def _exchange_names(first: Path, second: Path) -> bool:
    """Exchange the names of two paths in one step; False where the system or the drive can't."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2  # Linux
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0)


@contextmanager
def readable_write_errors(path: Path) -> Iterator[None]:
    """Turn errors of writing a path that the user can mend into an OutputError."""
    try:
        yield
    except OSError as error:
        reason = unwritable_reason(error)
        if reason is None:
            raise
        raise OutputError(f"{path}: can't be written: {reason}") from error


@contextmanager
def private_files() -> Iterator[None]:
    """Files that are made meanwhile, by any thread, are their user's alone: 0600, and folders 0700."""
    earlier = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(earlier)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_foreign(path: Path, mark: str) -> bool:
    """Whether something with content lies here that lacks the mark of the files that are to be replaced."""
    if not path.is_file():
        return path.exists()
    return path.stat().st_size > 0 and mark.encode() not in path.read_bytes()


def refuse_foreign(path: Path, mark: str, what: str) -> None:
    """Raise a UserError rather than have an option --out replace what is not of the kind `what`."""
    if is_foreign(path, mark):
        raise UserError(f"--out {path}: exists and is no {what}; name another file")


def unwritable_reason(error: OSError) -> str | None:
    """Why a place can't be written, and what would help; None where the place is not the reason."""
    return _REASONS.get(error.errno or 0)


def sync_file(path: Path) -> None:
    """Wait until a file is on the disk; a full network drive may tell so only now."""
    descriptor = os.open(path, os.O_RDWR)  # Windows syncs no file that is open for reading only
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without the mark that some editors put first.

    Raises:
        UserError: unreadable, or not UTF-8: the place of the first byte that isn't.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        raise UserError(f"{path}: is UTF-16, or no text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start
        line, column = data.count(b"\n", 0, start) + 1, start - data.rfind(b"\n", 0, start)
        where = f"byte {data[start]:#04x} in line {line}, place {column}"
        raise UserError(f"{path}: {where}, is not UTF-8 (of Latin-1?); save the file as UTF-8") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with plain newlines, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table as CSV with plain newlines, atomically."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((header, *rows))
    write_text(path, text.getvalue())


def read_content_checksum(path: Path) -> str:
    """CRC-32 and length of a file's content, in hex; of a gzip file, by its last bytes, of what is packed.

    Equal content may be packed into other bytes.
    """
    with path.open("rb") as file:
        if file.read(2) == GZIP and file.seek(0, os.SEEK_END) > len(GZIP) + TRAILER:
            file.seek(-TRAILER, os.SEEK_END)
            checksum, length = struct.unpack("<II", file.read())
            if length:  # files of many blocks end in an empty one
                return f"{checksum:08x}{length:08x}"
        file.seek(0)
        content = file.read()
    return f"{zlib.crc32(content):08x}{len(content) % 2**32:08x}"


_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EACCES: "permission denied; choose another output folder",
    errno.EPERM: "not permitted; choose another output folder",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.ENOTDIR: "a part of its path is a file; choose another output folder",
    errno.EEXIST: "a part of its path is a file; choose another output folder",
    errno.EFBIG: "files of this size are not allowed there (ulimit -f); choose another output folder",
    errno.ENAMETOOLONG: "the name is too long for this drive; choose a shorter name",
    errno.EILSEQ: "the drive can't store such a name; choose a name of plain letters and digits",
    errno.EIO: "the drive fails; see to it, or choose another output folder",
    errno.ESTALE: "the network drive has lost the file; run the command again",
    errno.ETIMEDOUT: "the network drive does not answer; run the command again",
}
