"""DICOM files read without a word: what pydicom prints and raises quotes values, which may name a patient."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.data.layouts.dicom.header_values import require_pydicom
from volseg.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TALKERS = ("pydicom", "highdicom")


class _Silence:
    """Silence of all threads: it begins with the first that wants it and ends with the last."""

    def __init__(self) -> None:
        self._lock, self._count, self._undo = threading.Lock(), 0, ExitStack()

    def begin(self) -> None:
        with self._lock:
            self._count += 1
            if self._count > 1:
                return
            for logger in map(logging.getLogger, _TALKERS):
                self._undo.callback(logger.setLevel, logger.level)
                logger.setLevel(logging.CRITICAL + 1)
            self._undo.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")

    def end(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                self._undo.close()


_silence = _Silence()


@contextmanager
def silenced_pydicom() -> Iterator[None]:
    """Let pydicom and highdicom neither log nor warn while the body runs, in this thread or another."""
    _silence.begin()
    try:
        yield
    finally:
        _silence.end()


def read_dataset(path: Path, where: str) -> "Dataset":
    """The content of a DICOM file without its pixels; `where` names it in messages.

    Raises:
        UserError: pydicom is missing, or the file can't be read.
    """
    require_pydicom()
    from pydicom import dcmread

    with silenced_pydicom():
        try:
            return dcmread(path, stop_before_pixels=True)
        except Exception:  # any fault of a damaged file; its text may quote the file
            raise UserError(f"{where}: can't be read as DICOM; send the file anew") from None
