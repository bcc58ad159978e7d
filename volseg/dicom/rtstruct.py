"""RTSTRUCT out: masks as contours that a planning system takes, of the patient and images they came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volseg import __version__
from volseg.data.layouts.dicom.headers import RTSTRUCT
from volseg.data.layouts.dicom.image_plane import ImagePlane
from volseg.data.layouts.dicom.quiet_reading import silenced_pydicom
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.volume import Array
from volseg.dicom.object_files import write_objects
from volseg.dicom.organ_codes import OrganCode
from volseg.dicom.source_header import LABEL, MAKER, MadeBy, copy_identity, read_source_header, set_now
from volseg.dicom.tracing import trace_contours
from volseg.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

STUDY = "1.2.840.10008.3.1.2.3.1"  # the class that RT objects refer to a study by
SERIES_NUMBER = 9001  # far from those of scanners
PLACES = 4  # decimals of a mm
FARTHEST_MM = 1e8  # farther places need more than the 16 characters that a number may have
_CONTOUR_DATA = 0x30060050
SIDES = {"left": ("7771000", "Left"), "right": ("24028007", "Right")}


@dataclass(frozen=True)
class OrganMask:
    """The mask (planes, rows, columns) of a class, or its probabilities; whether it was corrected by hand."""

    organ: str
    code: OrganCode
    planes: Array
    corrected: bool = False


def write_rtstruct(
    path: Path, series: DicomSeries, organs: Sequence[OrganMask], *, made_by: MadeBy = MadeBy()
) -> tuple[str, ...]:
    """Write the contours of organs on the slices of a series; returns the organs that are empty.

    Raises:
        UserError: as of `make_rtstruct`, or the file can't be written.
    """
    dataset = make_rtstruct(series, organs, made_by=made_by)
    if dataset is not None:
        write_objects({path: dataset})
    return empty_organs(organs)


@silenced_pydicom()
def make_rtstruct(
    series: DicomSeries, organs: Sequence[OrganMask], *, made_by: MadeBy = MadeBy()
) -> "Dataset | None":
    """The contours of organs on the slices of a series, as an object; None where all organs are empty.

    Those that are empty are left out, which the object tells: a structure without contours stops some
    readers, and a structure set has one structure at least.

    Raises:
        UserError: pydicom is missing, or the series can't be referred to, or its files are gone.
    """
    source = read_source_header(series)
    empty = empty_organs(organs)
    if len(empty) == len(organs):
        return None
    dataset = _header(series, made_by)
    shown = (organ for organ in organs if organ.organ not in empty)
    for number, organ in enumerate(shown, 1):
        _add_structure(dataset, series, organ, number, made_by)
    left_out = f" Left out, as nothing of it was found: {', '.join(empty)}." if empty else ""
    unlike = " The image is unlike those that the network was trained on." if made_by.unlike else ""
    text = f"Made by software and not reviewed by anyone.{unlike}{left_out}"
    dataset.StructureSetDescription = text.encode("ascii", "replace").decode()[:1024]
    copy_identity(source, series, dataset)
    return dataset


def empty_organs(organs: Sequence[OrganMask]) -> tuple[str, ...]:
    """The organs of which there is nothing."""
    return tuple(organ.organ for organ in organs if not organ.planes.any())


def _header(series: DicomSeries, made_by: MadeBy) -> "Dataset":
    """All but the structures, and but for what is the patient's."""
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = RTSTRUCT, "RTSTRUCT"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER, 1
    dataset.Manufacturer = dataset.ManufacturerModelName = MAKER
    dataset.SoftwareVersions, dataset.OperatorsName = __version__, ""
    dataset.SeriesDescription = dataset.StructureSetName = made_by.description
    dataset.StructureSetLabel = LABEL
    dataset.ApprovalStatus = "UNAPPROVED"
    set_now(dataset, ("InstanceCreation", "Series", "StructureSet"))
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(series)]
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    dataset.RTROIObservationsSequence = []
    return dataset


def _frame_of_reference(series: DicomSeries) -> "Dataset":
    """The frame of reference with the study, the series and all its images."""
    from pydicom.dataset import Dataset

    referenced, study, frame = Dataset(), Dataset(), Dataset()
    referenced.SeriesInstanceUID = series.series_uid
    referenced.ContourImageSequence = [image_reference(plane) for plane in series.planes]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY, series.study_uid
    study.RTReferencedSeriesSequence = [referenced]
    frame.FrameOfReferenceUID = series.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def image_reference(plane: ImagePlane) -> "Dataset":
    """A reference to an image, or to the frame that a plane is of its file."""
    from pydicom.dataset import Dataset

    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = plane.sop_class_uid, plane.sop_instance_uid
    if plane.frame is not None:
        image.ReferencedFrameNumber = plane.frame
    return image


def _add_structure(
    dataset: "Dataset", series: DicomSeries, organ: OrganMask, number: int, made_by: MadeBy
) -> None:
    """Add one structure with its contours to the object's three lists."""
    from pydicom.charset import default_encoding
    from pydicom.dataset import Dataset

    structure, drawn, observed = Dataset(), Dataset(), Dataset()
    structure.ROINumber, structure.ROIName = number, organ.code.name
    structure.ReferencedFrameOfReferenceUID = series.frame_of_reference_uid
    structure.ROIGenerationAlgorithm = "SEMIAUTOMATIC" if organ.corrected else "AUTOMATIC"
    structure.ROIGenerationDescription = made_by.text
    if organ.corrected:
        structure.ROIDescription = "corrected by hand after it was predicted"
    drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, list(organ.code.color)
    drawn.ContourSequence = _contours(series, organ.planes)
    drawn.set_original_encoding(True, True, default_encoding)
    observed.ObservationNumber = observed.ReferencedROINumber = number
    observed.RTROIInterpretedType, observed.ROIInterpreter = organ.code.type, ""
    if organ.code.code:
        observed.RTROIIdentificationCodeSequence = [organ_concept(organ.code)]
    dataset.StructureSetROISequence.append(structure)
    dataset.ROIContourSequence.append(drawn)
    dataset.RTROIObservationsSequence.append(observed)


def organ_concept(organ: OrganCode) -> "Dataset":
    """The code of an organ, its side beside it."""
    item = _concept(organ.code or "", organ.meaning)
    if organ.side:
        item.SegmentedPropertyTypeModifierCodeSequence = [_concept(*SIDES[organ.side])]
    return item


def _concept(code: str, meaning: str) -> "Dataset":
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", meaning
    return item


def _contours(series: DicomSeries, planes: Array) -> list["Dataset"]:
    """An item for each island of each slice, in order of the slices."""
    from pydicom.charset import default_encoding
    from pydicom.dataelem import RawDataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import Tag

    items: list[Dataset] = []
    tag = Tag(_CONTOUR_DATA)
    for plane, mask in zip(series.planes, planes, strict=True):
        for contour in trace_contours(mask):
            item = Dataset()
            item.ContourImageSequence = [image_reference(plane)]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(contour)
            item.ContourNumber = len(items) + 1
            text = decimal_text(plane.points_at(contour[:, 0], contour[:, 1]))
            # as if read from such a file, so that pydicom writes the text without parsing a million numbers
            item[tag] = RawDataElement(tag, "DS", len(text), text, 0, True, True)
            item.set_original_encoding(True, True, default_encoding)
            items.append(item)
    return items


def decimal_text(points_mm: Array) -> bytes:
    """Numbers as DICOM's decimal strings, none longer than 16 characters, of even length together.

    Raises:
        UserError: a place that no patient can be at.
    """
    if not np.abs(points_mm).max() < FARTHEST_MM:
        raise UserError("a series: its images lie 100 km and more away; their positions are wrong")
    rounded = np.round(points_mm, PLACES) + 0.0  # no -0.0
    text = "\\".join(map(repr, rounded.ravel().tolist())).encode()
    return text + b" " * (len(text) % 2)
