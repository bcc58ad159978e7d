"""One 16-bit greyscale PNG, read exactly as it is stored or refused by name.

The file's structure is checked here, not left to OpenCV: what OpenCV does with a damaged file (an
error, a line on stderr, half an image) depends on its version.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.errors import UserError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START = _SIGNATURE + b"\0\0\0\rIHDR"
_COLOURS = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}
_GREYSCALE = 0


def read(path: Path) -> npt.NDArray[np.uint16]:
    """The pixels (rows, columns), uint16.

    Raises:
        UserError: missing, empty, truncated, damaged, or not 16-bit greyscale; names the file.
    """
    import cv2

    data = _intact(path)
    bits, colour = struct.unpack_from(">BB", data, len(_SIGNATURE) + 16)
    if bits != 16 or colour != _GREYSCALE:
        kind = _COLOURS.get(colour, f"colour type {colour}")
        raise UserError(f"{path}: {bits}-bit {kind}; expected 16-bit greyscale")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise UserError(f"{path}: its pixels can't be decoded; copy or download the file again")
    return np.asarray(pixels)


def _intact(path: Path) -> bytes:
    """The bytes of a PNG whose chunks are all there and whose checksums are right."""
    if not path.is_file() and path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a pipe or a device; expected a PNG")  # reading may never end
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}; expected a PNG") from error
    if not data:
        raise UserError(f"{path}: zero bytes; copy or download the file again")
    if not data.startswith(_START[: len(data)]):
        raise UserError(f"{path}: not a PNG; expected a 16-bit greyscale PNG")
    fault = _fault(data)
    if fault:
        raise UserError(f"{path}: {fault}; copy or download the file again")
    return data


def _fault(data: bytes) -> str:
    """What is wrong with the chunks (length, kind, content, checksum) of a PNG, or ''."""
    view, at, kind = memoryview(data), len(_SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            return "truncated"
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            return "truncated"
        if zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return f"damaged (checksum of {kind.decode('latin-1')!r} differs)"
        at = end + 4
    return ""
