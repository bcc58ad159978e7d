"""The first tags of an image, read within limits: whoever sends them may be hostile."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.dicom.node.storage import ENHANCED_MR, IMAGE_CLASSES, TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MOST_BYTES = 2**20
"""Bytes at the beginning of a file in which all that is asked for must lie; enough by far for real images."""
LONGEST_TEXT, LONGEST_UID = 64, 64  # letters that the standard allows
LAST_TAG, LAST_ENHANCED_TAG = 0x0020_FFFF, 0x5200_9229
ENDING = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Planes by the axis of the patient, of x, y and z, that runs across them."""


@dataclass(frozen=True)
class ImageHeader:
    """What the node asks of an image; texts are the sender's and must not be told.

    `slices` counts the frames; `orientation` is axial, coronal, sagittal or empty where it is unknown.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    modality: str
    description: str = ""
    body_part: str = ""
    orientation: str = ""
    slices: int = 1


def read_header(file: Path) -> ImageHeader | None:
    """The header of a DICOM file; None if it is none, or none that the node takes."""
    with file.open("rb") as opened:
        return parse_header(opened.read(MOST_BYTES))


def parse_header(beginning: bytes) -> ImageHeader | None:
    """The header in the first bytes of a DICOM file; None if it is none, or none that the node takes."""
    try:
        return _parse(beginning)
    except Exception:  # hostile bytes: pydicom raises errors of many kinds
        return None


def _parse(beginning: bytes) -> ImageHeader | None:
    from pydicom.filereader import read_partial

    if beginning[128:132] != b"DICM":
        return None
    meta = read_partial(io.BytesIO(beginning), stop_when=lambda *_: True).file_meta
    sop_class, syntax = str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    if sop_class not in IMAGE_CLASSES or syntax not in TRANSFER_SYNTAXES:
        return None
    last = LAST_ENHANCED_TAG if sop_class == ENHANCED_MR else LAST_TAG
    read = read_partial(io.BytesIO(beginning), stop_when=_tags_after(last), specific_tags=[*_TAGS])
    class_uid, instance, series = (str(read[tag].value) for tag in (_CLASS, _INSTANCE, _SERIES))
    if not all(0 < len(uid) <= LONGEST_UID for uid in (class_uid, instance, series)):
        return None
    return ImageHeader(
        class_uid,
        instance,
        series,
        modality=_text(read, _MODALITY),
        description=_text(read, _DESCRIPTION),
        body_part=_text(read, _BODY_PART),
        orientation=_orientation(read),
        slices=int(read[_FRAMES].value) if _FRAMES in read else 1,
    )


_CLASS, _INSTANCE, _SERIES = 0x0008_0016, 0x0008_0018, 0x0020_000E
_MODALITY, _DESCRIPTION, _BODY_PART = 0x0008_0060, 0x0008_103E, 0x0018_0015
_ORIENTATION, _FRAMES, _SHARED, _PLANE = 0x0020_0037, 0x0028_0008, 0x5200_9229, 0x0020_9116
_TAGS = (
    _CLASS, _INSTANCE, _SERIES, _MODALITY, _DESCRIPTION, _BODY_PART, _ORIENTATION, _FRAMES, _SHARED,
)  # fmt: skip


def _tags_after(last: int) -> Callable[[int, str | None, int], bool]:
    return lambda tag, _vr, _length: tag > last


def _text(read: "Dataset", tag: int) -> str:
    """A text, cut to the length that the standard allows; empty where it can't be read."""
    try:
        return str(read[tag].value or "")[:LONGEST_TEXT] if tag in read else ""
    except Exception:  # an unknown character set, for one
        return ""


def _orientation(read: "Dataset") -> str:
    """The plane that the slices lie nearest to; empty where it is unknown."""
    import numpy as np

    if _SHARED in read and len(shared := read[_SHARED].value) and _PLANE in shared[0]:
        read = shared[0][_PLANE].value[0]
    values = read[_ORIENTATION].value if _ORIENTATION in read else None
    if values is None or len(values) != 6:
        return ""
    normal = np.abs(np.cross(*np.array(values, float).reshape(2, 3)))
    if not np.isfinite(normal).all() or normal.max() == 0:
        return ""
    return next(name for name, axis in ENDING.items() if axis == normal.argmax())
