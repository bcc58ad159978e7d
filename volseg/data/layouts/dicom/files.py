"""The files of DICOM in folders, told by their first bytes, and a reader that bounds what it takes."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from volseg.errors import UserError

PREAMBLE = 128  # bytes before the mark
MARK = b"DICM"
BARE_STARTS = (b"\x08\x00", b"\x02\x00")  # of files without preamble: group 0008 or 0002, little endian
MOST_FILES = 200_000  # below the paths that are given
HEADER_LIMIT = 64 << 20  # bytes read of a header; enhanced files of 10,000 frames have some 20 MB
DICOMDIR = "DICOMDIR"


class HeaderTooLargeError(Exception):
    """A header that is larger than any image needs, or packed so that its size can't be known."""


class BoundedReader:
    """A file that gives up rather than read more than HEADER_LIMIT bytes, or an unknown number of them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, HEADER_LIMIT

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            HeaderTooLargeError: more than are left to read.
        """
        if not 0 <= size <= self._left:
            raise HeaderTooLargeError
        data = self._file.read(size)
        self._left -= len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._file.tell()


def find_dicom_files(paths: Sequence[Path]) -> list[Path]:
    """The files of DICOM in folders and below, and among files, in the order of their paths.

    Raises:
        UserError: more files than MOST_FILES.
    """
    files: dict[str, Path] = {}
    for count, path in enumerate(_files_below(paths)):
        if count >= MOST_FILES:
            raise UserError(f"--input: more than {MOST_FILES} files; name the folder of one study")
        if path.name.upper() != DICOMDIR and is_dicom_file(path):
            files.setdefault(os.path.realpath(path), path)
    return sorted(files.values())


def holds_dicom(folder: Path) -> bool:
    """Whether a file in a folder or below is DICOM; it ends at the first."""
    return any(path.name.upper() != DICOMDIR and is_dicom_file(path) for path in _files_below([folder]))


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as DICOM does, with or without preamble."""
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE + len(MARK))
    except OSError:
        return False
    typed = start[4:6].isalpha() and start[4:6].isupper()
    bare = start[:2] in BARE_STARTS and start[3:4] == b"\0" and (typed or start[6:8] == b"\0\0")
    return start[PREAMBLE:] == MARK or (bare and len(start) == PREAMBLE + len(MARK))


def _files_below(paths: Sequence[Path]) -> Iterator[Path]:
    """Plain files among the paths and below the folders; a link that leaves its folder is left out."""
    for path in paths:
        if path.is_file():
            yield path
            continue
        root = os.path.realpath(path)
        for folder, folders, names in os.walk(path):  # links to folders are not followed
            folders.sort()
            for name in sorted(names):
                file = Path(folder, name)
                inside = not file.is_symlink() or os.path.realpath(file).startswith(root + os.sep)
                if inside and file.is_file():
                    yield file
