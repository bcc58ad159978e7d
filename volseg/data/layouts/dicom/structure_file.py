"""The structures of an RTSTRUCT as they stand in the file: named contours in the patient."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from volseg.data.layouts.dicom.header_values import BEYOND, read_uid
from volseg.data.layouts.dicom.headers import RTSTRUCT
from volseg.data.layouts.dicom.quiet_reading import read_dataset, silenced_pydicom
from volseg.errors import UserError
from volseg.formatting import format_count

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
WHERE = "a structure set"  # in messages: names and paths of files may name a patient
MOST_BYTES = 1 << 29  # of a file: the largest that were seen have some 100 MB
_CONTOUR_DATA = 0x30060050


@dataclass(frozen=True)
class Contour:
    """A contour in LPS+ mm, (N, 3); `points` is None where its numbers can't be read."""

    kind: str
    points: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class Structure:
    """A structure, unique by its name, with the frame of reference that its contours are in."""

    name: str
    frame_of_reference_uid: str
    contours: tuple[Contour, ...]


@dataclass(frozen=True)
class StructureSet:
    """What an RTSTRUCT holds; `notes` tell what of its list of structures is odd."""

    structures: tuple[Structure, ...]
    notes: tuple[str, ...] = ()


def read_structure_set(path: Path) -> StructureSet:
    """The structure set in an RTSTRUCT file.

    Raises:
        UserError: pydicom is missing, or no RTSTRUCT that can be read.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{WHERE}: can't be read: {error.strerror}") from None
    if size > MOST_BYTES:
        raise UserError(f"{WHERE}: has {size >> 20} MB; structure sets have {MOST_BYTES >> 20} MB at most")
    dataset = read_dataset(path, WHERE)
    with silenced_pydicom():
        if read_uid(dataset, "SOPClassUID") != RTSTRUCT:
            raise UserError(f"{WHERE}: is DICOM, but no RTSTRUCT")
        try:
            return _structure_set(dataset)
        except Exception:  # any fault of a damaged file; its text may quote the file
            raise UserError(f"{WHERE}: is damaged; export it anew") from None


def _structure_set(dataset: "Dataset") -> StructureSet:
    listed = list(dataset.get("StructureSetROISequence") or ())
    contours = _contours_by_number(dataset)
    names, notes = _unique_names([str(roi.get("ROIName") or "").strip() for roi in listed])
    structures = tuple(
        Structure(
            name, str(roi.get("ReferencedFrameOfReferenceUID") or ""), contours.pop(_number(roi, "ROI"), ())
        )
        for name, roi in zip(names, listed, strict=True)
    )
    if contours:
        unnamed = format_count(len(contours), "structure")
        notes.append(f"{WHERE}: contours of {unnamed} that it does not name are skipped")
    return StructureSet(structures, tuple(notes))


def _unique_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names, each once and none empty, and notes on those that were changed."""
    unique: list[str] = []
    for number, name in enumerate(names, 1):
        stem = name or f"structure_{number}"
        candidates = (stem, *(f"{stem}_{count}" for count in range(2, len(names) + 2)))
        unique.append(next(one for one in candidates if one not in unique))
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    notes = [f"{WHERE}: several structures are called {name!r}; they are numbered" for name in repeated]
    if not all(names):
        nameless = format_count(names.count(""), "structure")
        notes.append(f"{WHERE}: {nameless} without a name; numbers stand in its place")
    return unique, notes


def _contours_by_number(dataset: "Dataset") -> dict[int, tuple[Contour, ...]]:
    """The contours of each structure by its number."""
    found: dict[int, tuple[Contour, ...]] = {}
    for roi in dataset.get("ROIContourSequence") or ():
        number = _number(roi, "ReferencedROI")
        contours = map(_read_contour, roi.get("ContourSequence") or ())
        found[number] = (*found.get(number, ()), *contours)
    return found


def _number(item: "Dataset", of: str) -> int:
    return int(item[f"{of}Number"].value)


def _read_contour(item: "Dataset") -> Contour:
    """A contour, its numbers read from the bytes: much faster than by pydicom, and by no rules of text."""
    kind = str(item.get("ContourGeometricType") or "").strip()
    element: Any = item.get_item(_CONTOUR_DATA) if _CONTOUR_DATA in item else None
    value = element.value if element is not None else b""
    try:
        texts = value.split(b"\\") if isinstance(value, bytes) else list(value or ())
        numbers = np.array([float(text) for text in texts] if texts != [b""] else [])
    except ValueError:
        return Contour(kind, None)
    usable = numbers.size % 3 == 0 and bool((np.abs(numbers) < BEYOND).all())  # no patient lies farther off
    return Contour(kind, numbers.reshape(-1, 3) if usable else None)
