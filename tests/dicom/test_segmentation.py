"""SEG out: every organ as it is, on all slices, in highdicom and dcmqi."""

from dataclasses import replace

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from tests.dicom import judges
from tests.dicom.geometry_phantom import SHAPE, geometry_mask, organ_masks, overlapping_masks, phantom_series
from tests.dicom_series import ORIENTATIONS, PEOPLE
from volseg.data.volume import Volume
from volseg.dicom.rtstruct import OrganMask
from volseg.dicom.segmentation import write_segmentation
from volseg.dicom.source_header import MadeBy

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def by_highdicom(path, series):
    """The segments (planes, rows, columns) by number, on the grid of the series."""
    volume = highdicom.seg.segread(path).get_volume(combine_segments=False, rescale_fractional=True)
    segments = [
        Volume(volume.array[..., n], LPS_TO_RAS @ volume.affine) for n in range(volume.array.shape[3])
    ]
    return [series.planes_of_volume(segment) for segment in segments]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_organs_that_overlap_come_back_each_for_itself(orientation, tmp_path):
    series = phantom_series(tmp_path / "series", orientation=orientation)
    masks = overlapping_masks()
    path = tmp_path / "seg.dcm"

    write_segmentation(
        path, series, organ_masks(dict(zip(("stomach", "liver", "spleen"), masks, strict=True)))
    )

    again = by_highdicom(path, series)
    assert all((one == mask).all() for one, mask in zip(again, masks, strict=True))
    assert dcmread(path).SegmentsOverlap == "YES"


def test_dcmqi_reads_organs_that_overlap_each_for_itself(tmp_path):
    series = phantom_series(tmp_path / "series", orientation="oblique")
    masks = overlapping_masks()
    path = tmp_path / "seg.dcm"
    write_segmentation(
        path, series, organ_masks(dict(zip(("stomach", "liver", "spleen"), masks, strict=True)))
    )

    again = judges.by_dcmqi(path, series, tmp_path / "out")

    assert all((one == mask).all() for one, mask in zip(again, masks, strict=True))


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("person", PEOPLE)
def test_the_header_is_the_sources_byte_for_byte_and_without_errors(modality, person, tmp_path):
    series = phantom_series(tmp_path / "series", modality=modality, **PEOPLE[person])
    path = tmp_path / "new/scan_seg.dcm"
    masks = dict(zip(("stomach", "right_kidney", "unheard of"), overlapping_masks(), strict=True))
    write_segmentation(path, series, organ_masks(masks), made_by=MadeBy("first", "ab" * 32))
    source, written = dcmread(series.planes[0].path), dcmread(path)

    for key in (
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "SpecificCharacterSet",
    ):
        assert (written.get_item(key).value or b"") == (source.get_item(key).value or b""), key
    assert str(written.PatientName) == str(source.PatientName)
    assert written.SeriesInstanceUID != source.SeriesInstanceUID
    assert "UNREVIEWED" in written.SeriesDescription
    assert judges.errors_of_dciodvfy(path) == []
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_every_slice_has_a_frame_in_every_segment_and_names_its_image(tmp_path):
    series = phantom_series(tmp_path / "series")
    path = tmp_path / "seg.dcm"
    write_segmentation(
        path, series, organ_masks(dict(zip(("stomach", "gtv"), overlapping_masks(), strict=False)))
    )
    written = dcmread(path)

    named = [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for group in written.PerFrameFunctionalGroupsSequence
    ]

    assert written.NumberOfFrames == 2 * SHAPE[0]
    assert sorted(named) == sorted(2 * [plane.sop_instance_uid for plane in series.planes])


def test_a_class_without_a_code_is_tissue_and_one_with_a_side_says_so(tmp_path):
    series = phantom_series(tmp_path / "series")
    masks = dict(zip(("left_kidney", "gtv"), overlapping_masks(), strict=False))
    write_segmentation(tmp_path / "seg.dcm", series, organ_masks(masks))

    kidney, unknown = dcmread(tmp_path / "seg.dcm").SegmentSequence

    kind = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning) == (
        "64033007",
        "Left",
    )
    assert unknown.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert (kidney.SegmentLabel, unknown.SegmentLabel) == ("Kidney_L", "gtv")


def test_probabilities_come_back_to_half_a_255th(tmp_path):
    series = phantom_series(tmp_path / "series", orientation="coronal")
    probability = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    organs = [replace(organ, planes=probability) for organ in organ_masks({"liver": geometry_mask()})]

    write_segmentation(tmp_path / "seg.dcm", series, organs, fractional=True)

    again = by_highdicom(tmp_path / "seg.dcm", series)[0]
    assert dcmread(tmp_path / "seg.dcm").SegmentationFractionalType == "PROBABILITY"
    assert np.abs(again - probability).max() <= 0.5 / 255 + 1e-6
    assert judges.errors_of_dciodvfy(tmp_path / "seg.dcm") == []


def test_frames_of_one_file_are_named_by_their_numbers_there(tmp_path):
    """A series as an enhanced file has it, of which other frames are another volume's."""
    series = phantom_series(tmp_path / "series")
    one = series.planes[0].sop_instance_uid
    enhanced = tuple(
        replace(plane, frame=40 - number, sop_instance_uid=one, sop_class_uid="1.2.840.10008.5.1.4.1.1.4.1")
        for number, plane in enumerate(series.planes)
    )
    series = replace(series, planes=enhanced)
    write_segmentation(tmp_path / "seg.dcm", series, organ_masks({"liver": geometry_mask()}))

    places = {
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber: list(
            map(float, group.PlanePositionSequence[0].ImagePositionPatient)
        )
        for group in dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    }

    assert places == {plane.frame: pytest.approx(list(plane.position)) for plane in series.planes}
    assert (by_highdicom(tmp_path / "seg.dcm", series)[0] == geometry_mask()).all()


def test_organs_that_are_empty_are_left_out_and_nothing_is_written_of_none(tmp_path):
    series = phantom_series(tmp_path / "series")
    nothing = OrganMask("spleen", organ_masks({"spleen": geometry_mask()})[0].code, np.zeros(SHAPE, bool))

    empty = write_segmentation(
        tmp_path / "one.dcm", series, [nothing, *organ_masks({"liver": geometry_mask()})]
    )
    write_segmentation(tmp_path / "none.dcm", series, [nothing])

    assert empty == ("spleen",)
    assert len(dcmread(tmp_path / "one.dcm").SegmentSequence) == 1
    assert not (tmp_path / "none.dcm").exists()
