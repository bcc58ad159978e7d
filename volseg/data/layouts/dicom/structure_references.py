"""Which series a structure set (RTSTRUCT) refers to."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.data.layouts.dicom.found_series import StructureSetFile
from volseg.data.layouts.dicom.header_values import read_uid
from volseg.data.layouts.dicom.headers import items_of, read_header
from volseg.data.layouts.dicom.patient import read_patient

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

REFERENCES = "ReferencedFrameOfReferenceSequence"
TAGS = ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", REFERENCES)


def read_references(path: Path) -> list[StructureSetFile]:
    """The structure set in a file; none where it can't be read."""
    dataset = read_header(path, tags=TAGS)
    if dataset is None:
        return []
    frames = items_of(dataset, REFERENCES)
    uids = {
        read_uid(dataset, "FrameOfReferenceUID"),
        *(read_uid(one, "FrameOfReferenceUID") for one in frames),
    }
    return [
        StructureSetFile(
            path=path,
            patient=read_patient(dataset),
            study_uid=read_uid(dataset, "StudyInstanceUID"),
            series_uids=frozenset(uid for frame in frames for uid in _series_uids(frame) if uid),
            frame_of_reference_uids=frozenset(uids - {""}),
        )
    ]


def _series_uids(frame: "Dataset") -> Iterator[str]:
    for study in items_of(frame, "RTReferencedStudySequence"):
        for series in items_of(study, "RTReferencedSeriesSequence"):
            yield read_uid(series, "SeriesInstanceUID")
