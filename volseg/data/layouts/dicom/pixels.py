"""Pixels of a series, decoded in a process with limits of memory and time."""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO

import numpy as np

from volseg.data.layouts.dicom import decode_process
from volseg.data.layouts.dicom.found_series import series_label
from volseg.data.layouts.dicom.gate import MOST_VOXELS
from volseg.data.layouts.dicom.header_values import require_pydicom
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.volume import Array, Volume
from volseg.errors import UserError

SECONDS = 60.0  # for any series, and beyond:
PIXELS_A_SECOND = 2e6  # the slowest codec on an old machine does ten times as many
LONGEST_TEXT = 500


def read_volume(series: DicomSeries) -> Volume:
    """The volume of a series, float32 with slope and intercept by slice, in dcm2niix's order of voxels.

    Raises:
        UserError: pydicom or a decoder is missing, or the files are damaged, or decoding takes more
            memory or time than such a series can need.
    """
    require_pydicom()
    first, count = series.planes[0], len(series.planes)
    where = f"{series.name} ({series_label(series)})"
    if first.rows * first.columns * count > MOST_VOXELS:
        raise UserError(f"{where}: more than {MOST_VOXELS} voxels")
    pixels = np.empty((count, first.rows, first.columns), np.float32)
    seconds = SECONDS + pixels.size / PIXELS_A_SECOND
    fault = _Decoding(seconds).planes(series, pixels)
    if fault is not None:
        raise UserError(f"{where}: {fault}")
    return series.volume_of_planes(pixels)


class _Decoding:
    """A process that decodes, killed after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.overdue = seconds, False
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", decode_process.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def planes(self, series: DicomSeries, pixels: Array) -> str | None:
        """Fill pixels (planes, rows, columns) with a series; None if all came, else why not."""
        try:
            with self.process:
                try:
                    fault = _exchange(self.process, series, pixels)
                except BaseException:
                    self.process.kill()  # leaving waits for it
                    raise
        finally:
            self._timer.cancel()
        return self._end_reason() if fault == "" else fault

    def _end(self) -> None:
        self.overdue = True
        self.process.kill()

    def _end_reason(self) -> str:
        """Why the process ended before its last plane."""
        if self.overdue:
            return f"decoding took more than {self.seconds:.0f} s, so it was ended; send the files anew"
        status = self.process.returncode
        return f"decoding ended with {status}: a file is damaged, or memory is short; send the files anew"


def _exchange(process: "subprocess.Popen[bytes]", series: DicomSeries, pixels: Array) -> str | None:
    """Send what is to be decoded, and take the planes; None if all came, else the fault or ''."""
    if process.stdin is None or process.stdout is None:
        return ""
    first = series.planes[0]
    planes = [(os.path.abspath(plane.path), plane.frame, *plane.rescale) for plane in series.planes]  # noqa: PTH100
    request = {"rows": first.rows, "columns": first.columns, "modality": series.modality, "planes": planes}
    with suppress(BrokenPipeError):  # a process that has ended tells why by its status
        process.stdin.write(json.dumps(request).encode())
        process.stdin.close()
    return _receive_planes(process.stdout, pixels)


def _receive_planes(stream: IO[bytes], pixels: Array) -> str | None:
    """Fill pixels (planes, rows, columns) with what the process sends; None if all came.

    Else the fault that the process told, or '' where it ended without a word.
    """
    for plane in pixels:
        if (mark := stream.read(1)) != decode_process.PLANE:
            text = stream.read(LONGEST_TEXT).decode(errors="replace") if mark else ""
            return text if text.isprintable() else "is damaged; send the files anew"
        if stream.readinto(memoryview(plane).cast("B")) != plane.nbytes:  # type: ignore[attr-defined]
            return ""
    return None
