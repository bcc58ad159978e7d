"""DICOM SEG out, by highdicom: masks or probabilities of organs on all slices of a series."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volseg import __version__
from volseg.data.layouts.dicom.image_plane import ImagePlane
from volseg.data.layouts.dicom.quiet_reading import silenced_pydicom
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.volume import Array
from volseg.dicom.organ_codes import OrganCode
from volseg.dicom.rtstruct import SIDES, OrganMask
from volseg.dicom.source_header import (
    LABEL,
    MAKER,
    UNREVIEWED,
    MadeBy,
    copy_identity,
    read_source_header,
    set_now,
    write_object,
)
from volseg.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SERIES_NUMBER = 9002
NEEDED = "a SEG needs highdicom; install it by `pip install 'volseg[dicom]'`"
ANATOMY = ("91723000", "SCT", "Anatomical Structure")
TISSUE = ("85756007", "SCT", "Tissue")
"""Of a class without a code: all that is true of it, and what viewers take where nothing is known."""
LEARNING = ("123110", "DCM", "Artificial Intelligence")


def write_segmentation(
    path: Path,
    series: DicomSeries,
    organs: Sequence[OrganMask],
    *,
    made_by: MadeBy = MadeBy(),
    fractional: bool = False,
) -> tuple[str, ...]:
    """Write masks, or probabilities from 0 to 1, on all slices; returns the organs that are empty.

    These are left out, as of an RTSTRUCT; where all are empty no file is written.

    Raises:
        UserError: pydicom or highdicom is missing, the series' files are gone, or the file can't be written.
    """
    require_highdicom()
    source = read_source_header(series)
    shown = [organ for organ in organs if organ.planes.any()]
    if shown:
        with silenced_pydicom():
            dataset = _segmentation(series, shown, made_by, fractional=fractional)
            _name_frames(dataset, series)
            copy_identity(source, series, dataset)
        write_object(dataset, path, implicit=False)
    return tuple(organ.organ for organ in organs if organ not in shown)


def require_highdicom() -> None:
    """Raise a UserError where highdicom is not installed."""
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UserError(NEEDED) from error


def _segmentation(
    series: DicomSeries, organs: Sequence[OrganMask], made_by: MadeBy, *, fractional: bool
) -> "Dataset":
    """The object, of nobody yet."""
    import highdicom
    from pydicom.uid import generate_uid

    dataset = highdicom.seg.Segmentation(
        source_images=_source_images(series),
        pixel_array=_stacked(organs, np.float32 if fractional else np.uint8),
        segmentation_type="FRACTIONAL" if fractional else "BINARY",
        segment_descriptions=[_segment(number, organ, made_by) for number, organ in enumerate(organs, 1)],
        series_instance_uid=generate_uid(prefix=None),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        device_serial_number=made_by.short_hash or "0",
        series_description=UNREVIEWED,
        content_description=UNREVIEWED,
        content_label=LABEL,
        omit_empty_frames=False,  # without them some readers take the rest for the whole volume
        pixel_measures=_pixel_measures(series),
        plane_orientation=_orientation(series),
        plane_positions=[_position(plane) for plane in series.planes],
    )
    set_now(dataset, ("Series",))
    dataset["PixelData"].VR = "OB"
    return dataset


def _stacked(organs: Sequence[OrganMask], kind: Any) -> Array:
    """The planes of all organs, (planes, rows, columns, organs)."""
    stack = np.empty((*organs[0].planes.shape, len(organs)), kind)
    for number, organ in enumerate(organs):
        stack[..., number] = organ.planes
    return stack


def _segment(number: int, organ: OrganMask, made_by: MadeBy) -> Any:
    """The description of one organ."""
    import highdicom
    from pydicom.sr.coding import Code

    category, kind = ANATOMY if organ.code.code else TISSUE, TISSUE
    if organ.code.code:
        kind = (organ.code.code, "SCT", organ.code.meaning)
    segment = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=organ.code.name,
        segmented_property_category=Code(*category),
        segmented_property_type=Code(*kind),
        algorithm_type="SEMIAUTOMATIC" if organ.corrected else "AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=made_by.text, family=Code(*LEARNING), version=__version__
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*organ.code.color),
    )
    _add_side(segment, organ.code)
    return segment


def _add_side(segment: "Dataset", organ: OrganCode) -> None:
    from highdicom.sr import CodedConcept

    if organ.code and organ.side:
        code, meaning = SIDES[organ.side]
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept(code, "SCT", meaning)]


def _pixel_measures(series: DicomSeries) -> Any:
    import highdicom

    first = series.planes[0]
    distance_mm = float(np.diff([plane.distance_mm for plane in series.planes]).mean())
    spacing_mm = first.row_spacing_mm, first.column_spacing_mm
    return highdicom.PixelMeasuresSequence(spacing_mm, distance_mm, distance_mm)


def _orientation(series: DicomSeries) -> Any:
    import highdicom

    first = series.planes[0]
    return highdicom.PlaneOrientationSequence("PATIENT", (*first.row_direction, *first.column_direction))


def _position(plane: ImagePlane) -> Any:
    import highdicom

    return highdicom.PlanePositionSequence("PATIENT", plane.position)


def _source_images(series: DicomSeries) -> list["Dataset"]:
    """The series' images as highdicom wants them, without all that is the patient's.

    highdicom checks values and quotes them in what it raises; what it needs is known without the files.
    """
    if series.planes[0].frame is None:
        return [_source_image(series, plane) for plane in series.planes]
    from pydicom.dataset import Dataset

    image, shared = _source_image(series, series.planes[0]), Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = (
        _pixel_measures(series),
        _orientation(series),
    )
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [Dataset() for _ in series.planes]
    for group, plane in zip(image.PerFrameFunctionalGroupsSequence, series.planes, strict=True):
        group.PlanePositionSequence = _position(plane)
    image.NumberOfFrames = len(series.planes)
    return [image]


def _source_image(series: DicomSeries, plane: ImagePlane) -> "Dataset":
    from pydicom.dataset import Dataset

    image, first = Dataset(), series.planes[0]
    image.SOPClassUID, image.SOPInstanceUID = plane.sop_class_uid, plane.sop_instance_uid
    image.StudyInstanceUID, image.SeriesInstanceUID = series.study_uid, series.series_uid
    image.FrameOfReferenceUID, image.Modality = series.frame_of_reference_uid, series.modality
    image.Rows, image.Columns = plane.rows, plane.columns
    image.PatientID = image.PatientName = image.PatientBirthDate = image.PatientSex = ""
    image.AccessionNumber = image.StudyID = image.StudyDate = image.StudyTime = ""
    image.ImagePositionPatient = list(plane.position)
    image.ImageOrientationPatient = [*first.row_direction, *first.column_direction]
    image.PixelSpacing, image.SliceThickness = [first.row_spacing_mm, first.column_spacing_mm], 1.0
    return image


def _name_frames(dataset: "Dataset", series: DicomSeries) -> None:
    """Let frames made of frames of a file name these by their numbers there."""
    if series.planes[0].frame is None:
        return
    for group in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence", ()):
            for image in derivation.SourceImageSequence:
                image.ReferencedFrameNumber = series.planes[int(image.ReferencedFrameNumber) - 1].frame
