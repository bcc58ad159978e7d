"""DICOM files read without a word: what pydicom prints and raises quotes values, which may name a patient."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.data.layouts.dicom.header_values import require_pydicom
from volseg.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TALKERS = ("pydicom", "highdicom")


@contextmanager
def silenced_pydicom() -> Iterator[None]:
    """Let pydicom and highdicom neither log nor warn while the body runs."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


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
