"""Whose images a file says that it holds."""

from typing import TYPE_CHECKING

from volseg.data.layouts.dicom.header_values import read_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

IDENTITY = {"PatientID": "LO", "PatientName": "PN"}  # tag -> the type that its value has


def read_patient(dataset: "Dataset") -> tuple[str, str] | None:
    """The patient's number and name; None where one of them has no value of its type."""
    try:
        types = {key: dataset[key].VR for key in IDENTITY if key in dataset}
    except Exception:  # pydicom raises what it likes on damaged values
        return None
    if any(IDENTITY[key] != kind for key, kind in types.items()):
        return None
    return read_text(dataset, "PatientID"), read_text(dataset, "PatientName").rstrip("^ ")


def is_same_patient(one: tuple[str, str] | None, other: tuple[str, str] | None) -> bool:
    """Whether two files name one patient: by number, and by name where neither has a number."""
    if one is None or other is None:
        return False
    return one[0] == other[0] if one[0] or other[0] else one[1] == other[1]
