"""DICOM SEG out, by highdicom: masks or probabilities of organs on all slices of a series."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volseg import __version__
from volseg.data.layouts.dicom.image_plane import ImagePlane
from volseg.data.layouts.dicom.quiet_reading import silenced_pydicom
from volseg.data.layouts.dicom.series import DicomSeries
from volseg.data.volume import Array
from volseg.dicom.object_files import write_objects
from volseg.dicom.organ_codes import OrganCode
from volseg.dicom.rtstruct import SIDES, OrganMask, empty_organs, image_reference
from volseg.dicom.source_header import LABEL, MAKER, MadeBy, copy_identity, read_source_header, set_now
from volseg.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SERIES_NUMBER = 9002
ONE_FRAME = "1.2.840.10008.5.1.4.1.1.4"  # a class of images with one frame each; MR
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

    Raises:
        UserError: as of `make_segmentation`, or the file can't be written.
    """
    dataset = make_segmentation(series, organs, made_by=made_by, fractional=fractional)
    if dataset is not None:
        write_objects({path: dataset})
    return empty_organs(organs)


@silenced_pydicom()
def make_segmentation(
    series: DicomSeries, organs: Sequence[OrganMask], *, made_by: MadeBy = MadeBy(), fractional: bool = False
) -> "Dataset | None":
    """Masks, or probabilities from 0 to 1, on all slices as an object; None where all organs are empty.

    Those that are empty are left out, as of an RTSTRUCT.

    Raises:
        UserError: pydicom or highdicom is missing, or the series can't be referred to, or its files are gone.
    """
    require_highdicom()
    source = read_source_header(series)
    shown = [organ for organ in organs if organ.planes.any()]
    if not shown:
        return None
    images = [_source_image(series, plane) for plane in series.planes]
    dataset = _segmentation(series, shown, made_by, images=images, fractional=fractional)
    planes = zip(images, series.planes, strict=True)
    _name_images(dataset, {image.SOPInstanceUID: plane for image, plane in planes})
    copy_identity(source, series, dataset)
    return dataset


def require_highdicom() -> None:
    """Raise a UserError where highdicom is not installed."""
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UserError(NEEDED) from error


def _segmentation(
    series: DicomSeries,
    organs: Sequence[OrganMask],
    made_by: MadeBy,
    *,
    images: Sequence["Dataset"],
    fractional: bool,
) -> "Dataset":
    """The object, of nobody yet, and of images that stand in for those of the series."""
    import highdicom
    from pydicom.uid import generate_uid

    dataset = highdicom.seg.Segmentation(
        source_images=images,
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
        series_description=made_by.description,
        content_description=made_by.description,
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


def _source_image(series: DicomSeries, plane: ImagePlane) -> "Dataset":
    """An image that stands in for a plane of a series, without all that is the patient's.

    highdicom checks values and quotes them in what it raises; what it needs is known without the files. It
    takes frames of one file only, and all of them: so each plane is an image of its own, with a UID for now.
    """
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    image, first = Dataset(), series.planes[0]
    image.SOPClassUID, image.SOPInstanceUID = ONE_FRAME, generate_uid(prefix=None)
    image.StudyInstanceUID, image.SeriesInstanceUID = series.study_uid, series.series_uid
    image.FrameOfReferenceUID, image.Modality = series.frame_of_reference_uid, series.modality
    image.Rows, image.Columns = plane.rows, plane.columns
    image.PatientID = image.PatientName = image.PatientBirthDate = image.PatientSex = ""
    image.AccessionNumber = image.StudyID = image.StudyDate = image.StudyTime = ""
    image.ImagePositionPatient = list(plane.position)
    image.ImageOrientationPatient = [*first.row_direction, *first.column_direction]
    image.PixelSpacing, image.SliceThickness = [first.row_spacing_mm, first.column_spacing_mm], 1.0
    return image


def _name_images(dataset: "Dataset", planes: Mapping[str, ImagePlane]) -> None:
    """Let all references name the images of planes, or their frames, in place of the stand-ins by UID.

    highdicom has one item for all segments of a plane: each is named once.
    """
    items = {
        id(image): image
        for group in dataset.PerFrameFunctionalGroupsSequence
        for derivation in group.DerivationImageSequence
        for image in derivation.SourceImageSequence
    }
    for image in items.values():
        image.update(image_reference(planes[image.ReferencedSOPInstanceUID]))
    files = {plane.sop_instance_uid: replace(plane, frame=None) for plane in planes.values()}
    (referenced,) = dataset.ReferencedSeriesSequence
    referenced.ReferencedInstanceSequence = [image_reference(plane) for plane in files.values()]
    dataset.SourceImageSequence = [image_reference(plane) for plane in files.values()]
