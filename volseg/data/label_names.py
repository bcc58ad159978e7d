"""The names of values that a map of labels states itself, as TotalSegmentator and 3D Slicer write them."""

import gzip
import re
from pathlib import Path

from volseg.data.volume_files import split_ending

HEADER = 1_000_000  # bytes that headers take at most; TotalSegmentator's 117 names take 12,000
_NIFTI = re.compile(rb'<Label Key="([0-9]+)"[^>]*>\s*<!\[CDATA\[(.*?)\]\]>')
_SLICER = re.compile(rb"^Segment([0-9]+)_(Name|LabelValue):=(.*?)\r?$", re.M)


def read_label_names(path: Path) -> dict[str, tuple[int, ...]]:
    """The values by name that a file's header states; none where it states none or can't be read."""
    header = _first_bytes(path)
    if split_ending(path.name)[1].lower().endswith((".nrrd", ".nhdr")):
        fields = {
            (number, key): text.decode("utf-8", "replace") for number, key, text in _SLICER.findall(header)
        }
        pairs = [
            (name, fields.get((number, b"LabelValue"), ""))
            for (number, key), name in fields.items()
            if key == b"Name"
        ]
    else:
        pairs = [(name.decode("utf-8", "replace"), value.decode()) for value, name in _NIFTI.findall(header)]
    return {name.strip(): (int(value),) for name, value in pairs if value.isdigit() and int(value)}


def _first_bytes(path: Path) -> bytes:
    """The beginning of a file, unpacked; none of one that is damaged, of which its reader tells."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            return file.read(HEADER)
    except (OSError, EOFError):
        return b""
