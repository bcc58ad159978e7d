"""The process that decodes pixels: `python decode_process.py` reads a request and writes planes.

It runs on its own so that a damaged or hostile file can neither take the memory of the command nor end it. It
imports nothing of volseg, starts in a third of a second, and says nothing but texts of its own.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Array = npt.NDArray[Any]
PLANE, FAULT = b"\0", b"\1"  # what follows: a plane's float32, or a text to the end
MORE_BYTES = 512 << 20  # of memory beside what one file and one plane take
BYTES_A_PIXEL = 64  # while a plane is decoded
RLE = "1.2.5"  # how the transfer syntax of run lengths ends: it keeps all bits
AIR_HU = -1024.0
TISSUE_HU = (-1000.0, 3000.0)  # a padding value among these marks no padding
PACKAGES = {  # the ending of a transfer syntax -> its name and the package that decodes it
    "4.50": ("JPEG", "python-gdcm"),
    "4.51": ("JPEG", "python-gdcm"),
    "4.57": ("lossless JPEG", "python-gdcm"),
    "4.70": ("lossless JPEG", "python-gdcm"),
    "4.80": ("JPEG-LS", "pyjpegls"),
    "4.81": ("JPEG-LS", "pyjpegls"),
    "4.90": ("JPEG 2000", "pylibjpeg-openjpeg"),
    "4.91": ("JPEG 2000", "pylibjpeg-openjpeg"),
    "4.201": ("JPEG 2000", "pylibjpeg-openjpeg"),
    "4.202": ("JPEG 2000", "pylibjpeg-openjpeg"),
    "4.203": ("JPEG 2000", "pylibjpeg-openjpeg"),
}


class PlaneFaultError(Exception):
    """Why a plane can't be decoded, in words of this module."""


def main() -> None:
    """Decode the planes of the request on standard input, in its order, to standard output."""
    request = json.load(sys.stdin)
    out = _private_output()
    warnings.simplefilter("ignore")
    place = 0
    try:
        for path, frame, *rescale in request["planes"]:
            place += 1
            plane = _plane(path, frame, rescale, request)
            out.write(PLANE + plane.astype("<f4").tobytes())
    except PlaneFaultError as fault:
        out.write(FAULT + f"plane {place}: {fault}".encode())
    except MemoryError:
        out.write(FAULT + f"plane {place}: takes more memory than its size can need".encode())
    except Exception:  # the texts of such errors may quote the file
        out.write(FAULT + f"plane {place}: is damaged; send the files anew".encode())
    out.flush()


def _private_output() -> BinaryIO:
    """Standard output for planes alone; what libraries print goes nowhere."""
    out = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return out


_read: dict[str, "Dataset"] = {}  # the file that was read last


def _plane(path: str, frame: int | None, rescale: list[float], request: dict[str, Any]) -> Array:
    """The values of a plane, float64 (rows, columns), by slope and intercept; padding of a CT is air.

    Of an MR where 0 is white the stored values are inverted first, so that brighter is greater. Of a CT they
    never are: Hounsfield units are defined on what is stored.
    """
    dataset = _dataset(path, request)
    stored = _stored_values(dataset, frame)
    if stored.shape != (request["rows"], request["columns"]):
        raise PlaneFaultError("has another size than its header tells; send the files anew")
    slope, intercept = rescale
    if request["modality"] == "CT":
        values = stored * np.float64(slope) + intercept
        values[_is_padding(stored, dataset, rescale)] = AIR_HU
        return values
    if str(dataset.get("PhotometricInterpretation")).strip().upper() == "MONOCHROME1":
        stored = _inverted(stored, dataset)
    return stored * np.float64(slope) + intercept


def _is_padding(stored: Array, dataset: "Dataset", rescale: list[float]) -> Array:
    """Where a CT's stored values, as they lie in the file, are padding."""
    slope, intercept = rescale
    value = _padding_value(dataset, "PixelPaddingValue")
    if value is None or TISSUE_HU[0] <= value * slope + intercept <= TISSUE_HU[1]:
        return np.zeros(stored.shape, bool)
    limit = _padding_value(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    return (stored >= low) & (stored <= high)


def _padding_value(dataset: "Dataset", key: str) -> int | None:
    """A padding value as its pixels are: writers give it without a sign where they have one, and with."""
    value = dataset.get(key)
    if value is None:
        return None
    size = 1 << int(dataset.BitsAllocated)
    number = int(value) % size
    return number - size if dataset.get("PixelRepresentation", 0) and number >= size // 2 else number


def _dataset(path: str, request: dict[str, Any]) -> "Dataset":
    if path not in _read:
        import pydicom

        _read.clear()
        _limit_memory(Path(path).stat().st_size, request["rows"] * request["columns"])
        _read[path] = pydicom.dcmread(path, force=True)
    return _read[path]


def _limit_memory(file_bytes: int, pixels: int) -> None:
    """Bound this process's memory to what it has, and what decoding this file needs."""
    try:
        import resource

        statistics = Path("/proc/self/statm").read_text(encoding="ascii")
        taken = int(statistics.split()[0]) * resource.getpagesize()
        most = taken + MORE_BYTES + 3 * file_bytes + BYTES_A_PIXEL * pixels
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, OSError, ValueError):  # another system; the time limit holds there as well
        pass


def _stored_values(dataset: "Dataset", frame: int | None) -> Array:
    """The stored whole numbers of a plane, right in sign and bits."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2")
    name, package = PACKAGES.get(str(syntax).removeprefix("1.2.840.10008.1.2."), ("its compression", ""))
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise PlaneFaultError("is compressed in a way that is not read") from None
    if not decoder.is_available:
        advice = f"install it by `pip install {package}`" if package else "no package is known for it"
        raise PlaneFaultError(f"needs a decoder of {name}; {advice}")
    if "ModalityLUTSequence" in dataset:
        raise PlaneFaultError("has a table of values where a slope is expected")
    if decoder.is_encapsulated and not str(syntax).endswith(RLE) and _unused_bits_below(dataset):
        raise PlaneFaultError("has its bits at a place that compression does not keep; send it uncompressed")
    options: Any = {"raw": True, "correct_unused_bits": False}  # which bits are used is told below
    pixels, _ = decoder.as_array(dataset, index=(frame or 1) - 1, **options)
    if pixels.dtype.kind not in "iu":
        raise PlaneFaultError("has fractions for pixels, which are not read")
    return _with_right_bits(pixels, dataset)


def _with_right_bits(pixels: Array, dataset: "Dataset") -> Array:
    """Pixels without what lies beside their stored bits."""
    bits = _stored_bits(dataset)
    values = pixels.astype(np.int64) if dataset.BitsAllocated > 16 else pixels.astype(np.int32)
    values = (values >> _unused_bits_below(dataset)) & ((1 << bits) - 1)
    if dataset.get("PixelRepresentation", 0):
        values = (values ^ (1 << (bits - 1))) - (1 << (bits - 1))
    return values


def _inverted(values: Array, dataset: "Dataset") -> Array:
    """Stored values of pixels where 0 is white, turned within their range."""
    return -1 - values if dataset.get("PixelRepresentation", 0) else (1 << _stored_bits(dataset)) - 1 - values


def _stored_bits(dataset: "Dataset") -> int:
    return int(dataset.get("BitsStored") or dataset.BitsAllocated)


def _unused_bits_below(dataset: "Dataset") -> int:
    """How many bits of a pixel lie below its value.

    Raises:
        PlaneFaultError: the header tells of more bits than a pixel has.
    """
    bits, allocated = _stored_bits(dataset), int(dataset.BitsAllocated)
    highest = int(dataset.get("HighBit", bits - 1))
    if not bits - 1 <= highest < allocated:
        raise PlaneFaultError("has a HighBit that does not fit its BitsStored; send the files anew")
    return highest + 1 - bits


if __name__ == "__main__":
    main()
