"""What the header of a DICOM file tells of its image, without pixels: only what is needed, and checked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volseg.data.layouts.dicom import header_values as values
from volseg.data.layouts.dicom.files import BoundedReader
from volseg.data.layouts.dicom.image_plane import ImagePlane, Vector
from volseg.data.layouts.dicom.patient import read_patient
from volseg.data.layouts.dicom.rescale import Rescale, read_rescale

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.", "1.2.840.10008.5.1.4.1.1.481.")  # and objects of radiotherapy
IMAGE_CLASSES = {  # SOP class -> modality
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",  # enhanced
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",  # legacy converted
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",  # enhanced
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",  # legacy converted
}
MOMENTS = (
    *("TemporalPositionIndex", "TemporalPositionIdentifier", "NominalCardiacTriggerDelayTime"),
    *("TriggerTime", "DiffusionBValue", "AcquisitionNumber"),
)
MOST_PIXELS = 1 << 26  # of a plane: 8192 x 8192
UNIT = 1e-2  # how far direction cosines may be from unit vectors at right angles
FRAMES, SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
GROUPS = {  # value -> its functional group
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
}
TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "PhotometricInterpretation", "SamplesPerPixel", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "MRAcquisitionType"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"),
    *("EchoTime", "EchoNumbers", "AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime"),
    *("DiffusionBValue", "RescaleType", "HighBit", "PatientID", "PatientName"),
    *("StudyDate", "StudyTime", "SeriesNumber", "SeriesDescription", FRAMES, SHARED),
)


@dataclass(frozen=True)
class FileHeader:
    """What all planes of a file share. Texts may name the patient: they are in no message and no repr."""

    path: Path = field(repr=False)
    sop_class_uid: str
    sop_instance_uid: str = field(repr=False)
    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    modality: str
    image_type: tuple[str, ...]
    photometric: str
    samples: int
    rows: int
    columns: int
    bits: int
    bits_stored: int
    high_bit: int
    acquired_in_3d: bool
    patient: tuple[str, str] | None = field(repr=False)
    study_date: str = field(repr=False)
    study_time: str = field(repr=False)
    series_number: int
    description: str = field(repr=False)

    @property
    def patient_id(self) -> str:
        """The patient's number; '' where it is missing."""
        return self.patient[0] if self.patient else ""


@dataclass(frozen=True)
class Slice:
    """A plane with what tells volumes of one series apart; `plane` is None where its place is unknown.

    `moment` is what differs between volumes at the same or at shifted places, in the order of MOMENTS.
    """

    file: FileHeader
    plane: ImagePlane | None
    echo: tuple[float | None, int]
    kind: tuple[str, ...]
    stack: str
    moment: tuple[float | None, ...]
    rescale: Rescale = field(default_factory=Rescale)

    @cached_property
    def distance_mm(self) -> float:
        """How far along its normal the plane lies."""
        return self.plane.distance_mm if self.plane else 0.0

    @property
    def place(self) -> tuple[object, ...]:
        """Where the plane lies, and its grid."""
        plane, frame = self.plane, self.file.frame_of_reference_uid
        if plane is None:
            return (frame,)
        spacing = plane.row_spacing_mm, plane.column_spacing_mm
        directions = plane.row_direction, plane.column_direction
        return (frame, plane.rows, plane.columns, plane.position, *directions, *spacing)


def read_header(path: Path, *, tags: Sequence[str] = TAGS) -> "Dataset | None":
    """The tags of a file without its pixels; None where they can't be read."""
    import pydicom

    try:
        with path.open("rb") as file:
            reader = BoundedReader(file)
            return pydicom.dcmread(reader, stop_before_pixels=True, force=True, specific_tags=[*tags])
    except Exception:  # pydicom raises errors of every kind on damaged files, and their texts hold values
        return None


def read_file(dataset: "Dataset", path: Path) -> FileHeader:
    """What a header says of all its planes."""
    from pydicom.dataset import Dataset

    meta = getattr(dataset, "file_meta", None) or Dataset()
    sop_class = values.read_uid(dataset, "SOPClassUID") or values.read_uid(meta, "MediaStorageSOPClassUID")
    instance = values.read_uid(dataset, "SOPInstanceUID") or values.read_uid(
        meta, "MediaStorageSOPInstanceUID"
    )
    return FileHeader(
        path=path,
        sop_class_uid=sop_class,
        sop_instance_uid=instance,
        study_uid=values.read_uid(dataset, "StudyInstanceUID"),
        series_uid=values.read_uid(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=values.read_uid(dataset, "FrameOfReferenceUID"),
        modality=IMAGE_CLASSES.get(sop_class, ""),
        image_type=tuple(text.upper() for text in values.read_texts(dataset, "ImageType")),
        photometric=values.read_text(dataset, "PhotometricInterpretation").upper(),
        samples=values.read_whole(dataset, "SamplesPerPixel", 1),
        rows=values.read_whole(dataset, "Rows", 0),
        columns=values.read_whole(dataset, "Columns", 0),
        bits=(bits := values.read_whole(dataset, "BitsAllocated", 0)),
        bits_stored=(stored := values.read_whole(dataset, "BitsStored", bits)),
        high_bit=values.read_whole(dataset, "HighBit", stored - 1),
        acquired_in_3d=values.read_text(dataset, "MRAcquisitionType").upper() == "3D",
        patient=read_patient(dataset),
        study_date=values.read_text(dataset, "StudyDate"),
        study_time=values.read_text(dataset, "StudyTime"),
        series_number=values.read_whole(dataset, "SeriesNumber", 0),
        description=values.read_text(dataset, "SeriesDescription"),
    )


def read_slices(dataset: "Dataset", file: FileHeader) -> Iterator[Slice]:
    """The planes of a file: its one, or one a frame."""
    frames = values.read_whole(dataset, "NumberOfFrames", 1)
    groups = items_of(dataset, FRAMES)
    if not groups and frames <= 1:
        yield _slice_of(FrameValues(dataset), file, None)
        return
    if frames != len(groups):
        yield Slice(file, None, (None, 0), (), "", ())
        return
    shared = items_of(dataset, SHARED)[:1]
    for number, item in enumerate(groups, 1):
        yield _slice_of(FrameValues(dataset, [item, *shared]), file, number)


class FrameValues:
    """Numbers of a frame: from its own functional groups, else the shared ones, else the whole file."""

    def __init__(self, dataset: "Dataset", groups: "Sequence[Dataset]" = ()) -> None:
        self._dataset, self._groups = dataset, groups

    def place_of(self, key: str) -> "Dataset":
        """The dataset that holds a value."""
        for item in self._groups:
            for inner in items_of(item, GROUPS[key])[:1] if key in GROUPS else ():
                if key in inner:
                    return inner
        return self._dataset

    def numbers(self, key: str, count: int) -> tuple[float, ...] | None:
        """So many numbers, or None."""
        return values.read_numbers(self.place_of(key), key, count)

    def number(self, key: str) -> float | None:
        """One number, or None."""
        return values.read_number(self.place_of(key), key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Texts; none where there are none."""
        return values.read_texts(self.place_of(key), key)


def items_of(dataset: "Dataset | None", key: str) -> "list[Dataset]":
    """The items of a sequence; none where it is missing or no sequence."""
    try:
        value = dataset.get(key) if dataset is not None else None
        return [*value] if value is not None and not isinstance(value, str | bytes) else []
    except Exception:
        return []


def _slice_of(frame: FrameValues, file: FileHeader, number: int | None) -> Slice:
    echo = frame.number("EffectiveEchoTime") or frame.number("EchoTime")
    echo_number = frame.number("EchoNumbers")
    kind = frame.texts("FrameType") if number else file.image_type
    rescale = read_rescale(frame.place_of, file.modality)
    return Slice(
        file=file,
        plane=_plane_of(frame, file, number, rescale),
        echo=(None if echo is None else round(echo, 3), int(echo_number or 0)),
        kind=tuple(word.upper() for word in kind[2:]),
        stack=" ".join(frame.texts("StackID")) if number else "",
        moment=tuple(frame.number(key) for key in MOMENTS),
        rescale=rescale,
    )


def _plane_of(
    frame: FrameValues, file: FileHeader, number: int | None, rescale: Rescale
) -> ImagePlane | None:
    """The place of a plane; None where the header does not tell it, or tells what can't be."""
    position = frame.numbers("ImagePositionPatient", 3)
    directions = frame.numbers("ImageOrientationPatient", 6)
    spacing = frame.numbers("PixelSpacing", 2)
    if position is None or directions is None or spacing is None or min(spacing) <= 0:
        return None
    row, column = np.array(directions[:3]), np.array(directions[3:])
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > UNIT:
        return None
    return ImagePlane(
        path=file.path,
        frame=number,
        sop_class_uid=file.sop_class_uid,
        sop_instance_uid=file.sop_instance_uid,
        rows=file.rows,
        columns=file.columns,
        position=_vector(position),
        row_direction=_vector(directions[:3]),
        column_direction=_vector(directions[3:]),
        row_spacing_mm=spacing[0],
        column_spacing_mm=spacing[1],
        rescale=(rescale.slope, rescale.intercept),
    )


def _vector(numbers: Sequence[float]) -> Vector:
    x, y, z = (float(one) for one in numbers)
    return x, y, z
