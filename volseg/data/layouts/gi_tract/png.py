"""Reading and writing 16-bit greyscale PNG files, values as they are stored.

The file's structure is checked here, as OpenCV's way with a damaged file (an error, a line on stderr, half
an image) depends on its version.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.errors import UserError
from volseg.system.files import atomic_path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START = _SIGNATURE + b"\0\0\0\rIHDR"
_COLOURS = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}
_GREYSCALE = 0
_DIFFERENCES = 1  # the filter that PNG calls Sub

Pixels = npt.NDArray[np.uint16]


def read(path: Path) -> Pixels:
    """The pixels (rows, columns), uint16.

    Raises:
        UserError: missing, empty, truncated, damaged, or not 16-bit greyscale; names the file.
    """
    data = _read_intact(path)
    bits, colour = struct.unpack_from(">BB", data, len(_SIGNATURE) + 16)
    if bits != 16 or colour != _GREYSCALE:
        kind = _COLOURS.get(colour, f"colour type {colour}")
        raise UserError(f"{path}: {bits}-bit {kind}; expected 16-bit greyscale")
    if (pixels := _decode_differences(data)) is None and (pixels := _decode_by_opencv(data)) is None:
        raise UserError(f"{path}: its pixels can't be decoded; copy or download the file again")
    return pixels


def write(path: Path, pixels: Pixels) -> None:
    """Write pixels (rows, columns) atomically; a scan has too many files to wait for the disk at each."""
    import cv2

    done, coded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not done:
        raise ValueError(f"{path}: OpenCV can't encode {pixels.shape} {pixels.dtype}")
    with atomic_path(path, durable=False) as temporary:
        temporary.write_bytes(coded.tobytes())


def _decode_differences(data: bytes) -> Pixels | None:
    """The pixels of a PNG whose rows are all differences to the left, as OpenCV writes it; else None.

    It takes half of OpenCV's time (benchmarks/prepare.py): isal unpacks faster, numpy sums all rows at once.
    """
    from isal import isal_zlib

    columns, rows, *_, interlaced = struct.unpack_from(">IIBBBBB", data, len(_SIGNATURE) + 8)
    size = rows * (2 * columns + 1)
    if interlaced or not 0 < size < 1 << 30:
        return None
    unpacker = isal_zlib.decompressobj()
    try:
        raw = unpacker.decompress(_image_data(data), size + 1)
    except isal_zlib.error:  # type: ignore[misc]
        return None
    if len(raw) != size or not unpacker.eof:
        return None
    lines = np.frombuffer(raw, dtype=np.uint8).reshape(rows, 2 * columns + 1)
    if (lines[:, 0] != _DIFFERENCES).any():
        return None
    high, low = (np.add.accumulate(lines[:, n::2], axis=1, dtype=np.uint8) for n in (1, 2))
    pixels: Pixels = high.astype(np.uint16)
    pixels <<= 8
    pixels |= low
    return pixels


def _image_data(data: bytes) -> bytes:
    """The joined contents of all IDAT chunks."""
    parts, at, kind = [], len(_SIGNATURE), b""
    while kind != b"IEND":  # bytes behind it are no part of the picture
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            parts.append(data[at + 8 : at + 8 + length])
        at += length + 12
    return b"".join(parts)


def _decode_by_opencv(data: bytes) -> Pixels | None:
    import cv2

    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    right = pixels is not None and pixels.dtype == np.uint16 and pixels.ndim == 2
    return np.asarray(pixels) if right else None


def _read_intact(path: Path) -> bytes:
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
    fault = _chunk_fault(data)
    if fault:
        raise UserError(f"{path}: {fault}; copy or download the file again")
    return data


def _chunk_fault(data: bytes) -> str:
    """The fault of a PNG's chunks (length, kind, content, checksum), or ''."""
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
