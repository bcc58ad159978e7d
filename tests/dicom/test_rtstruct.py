"""RTSTRUCT out and in again: the same mask, and a header that planning systems take."""

import numpy as np
import pytest
from pydicom import dcmread

from tests.dicom import judges
from tests.dicom.geometry_phantom import (
    SALT,
    SHAPE,
    geometry_mask,
    organ_masks,
    overlapping_masks,
    phantom_series,
)
from tests.dicom_series import ORIENTATIONS, PEOPLE, write_series
from volseg.data.layouts.dicom.find import open_series
from volseg.data.layouts.dicom.structures import structure_masks
from volseg.dicom.rtstruct import decimal_text, write_rtstruct
from volseg.dicom.source_header import MadeBy
from volseg.errors import UserError

SOURCE = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
          "AccessionNumber", "ReferringPhysicianName", "StudyInstanceUID", "FrameOfReferenceUID",
          "SpecificCharacterSet")  # fmt: skip


@pytest.fixture(scope="module", params=ORIENTATIONS)
def written(request, tmp_path_factory):
    """A series in each orientation, and the RTSTRUCT of the geometry phantom on it."""
    folder = tmp_path_factory.mktemp(request.param)
    series = phantom_series(folder / "series", orientation=request.param)
    path = folder / "contours/phantom_rtstruct.dcm"
    write_rtstruct(
        path, series, organ_masks({"stomach": geometry_mask()}), made_by=MadeBy("first", "ab" * 32)
    )
    return request.param, series, path


def own_planes(path, series):
    """The masks of an RTSTRUCT by our own reader, as planes by name."""
    return {name: series.planes_of_volume(mask) for name, mask in structure_masks(path, series).masks.items()}


def test_the_phantom_comes_back_voxel_by_voxel(written):
    _, series, path = written

    again = structure_masks(path, series)

    assert (series.planes_of_volume(again.masks["Stomach"]) == geometry_mask()).all()
    assert again.notes == ()


def test_dcmrtstruct2nii_reads_it_voxel_by_voxel(written, tmp_path):
    _, series, path = written

    again = judges.by_dcmrtstruct2nii(path, series, tmp_path / "out")

    assert (again["Stomach"] == geometry_mask()).all()


def test_plastimatch_reads_it_voxel_by_voxel(written, tmp_path):
    _, series, path = written

    again = judges.by_plastimatch(path, series, tmp_path / "out")

    assert (again["Stomach"] == geometry_mask()).all()


def test_points_lie_on_the_plane_of_the_image_that_they_name(written):
    _, series, path = written
    planes = {plane.sop_instance_uid: plane for plane in series.planes}

    for item in dcmread(path).ROIContourSequence[0].ContourSequence:
        points = np.reshape([float(value) for value in item.ContourData], (-1, 3))
        plane = planes[item.ContourImageSequence[0].ReferencedSOPInstanceUID]
        assert np.abs(points @ plane.normal - plane.distance_mm).max() < 0.01
        assert item.NumberOfContourPoints == len(points) >= 3
        assert all(len(str(value)) <= 16 for value in item.ContourData)


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("person", PEOPLE)
def test_the_header_is_the_sources_byte_for_byte_and_without_errors(modality, person, tmp_path):
    series = phantom_series(
        tmp_path / "series", modality=modality, **PEOPLE[person], StudyDescription="Bauch"
    )
    path = tmp_path / "new/scan_rtstruct.dcm"
    masks = dict(zip(("stomach", "right_kidney", "unheard of"), overlapping_masks(), strict=True))
    write_rtstruct(path, series, organ_masks(masks), made_by=MadeBy("first", "ab" * 32))
    source, written = dcmread(series.planes[0].path), dcmread(path)

    for key in SOURCE:
        there = source.get_item(key)
        assert (written.get_item(key).value or b"") == ((there.value or b"") if there else b""), key
    assert str(written.PatientName) == str(source.PatientName)
    assert written.SeriesInstanceUID != source.SeriesInstanceUID
    assert written.Modality == "RTSTRUCT"
    assert written.file_meta.TransferSyntaxUID.is_implicit_VR
    assert written.ApprovalStatus == "UNAPPROVED"
    assert "ReviewDate" not in written
    assert "UNREVIEWED" in written.SeriesDescription
    assert len(written.StructureSetLabel) <= 16
    assert judges.errors_of_dciodvfy(path) == []
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_an_image_unlike_those_of_training_is_told_where_a_planner_looks(tmp_path):
    series = phantom_series(tmp_path / "series")
    path, masks = tmp_path / "rt.dcm", organ_masks({"stomach": geometry_mask()})

    write_rtstruct(path, series, masks, made_by=MadeBy("first", "ab" * 32, unlike=True))

    written = dcmread(path)
    assert "UNLIKE TRAINING" in written.SeriesDescription == written.StructureSetName
    assert len(written.SeriesDescription) <= 64
    assert "unlike those that the network was trained on" in written.StructureSetDescription
    assert judges.errors_of_dciodvfy(path) == []
    write_rtstruct(path, series, masks, made_by=MadeBy("first", "ab" * 32))
    assert "unlike" not in str(dcmread(path)).lower()


def test_all_images_are_referenced_and_structures_named(tmp_path):
    series = phantom_series(tmp_path / "series")
    masks = dict(zip(("stomach", "right_kidney", "unheard of"), overlapping_masks(), strict=True))
    path = tmp_path / "rt.dcm"
    write_rtstruct(path, series, organ_masks(masks), made_by=MadeBy("first", "ab" * 32))
    written = dcmread(path)

    study = written.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    images = [
        item.ReferencedSOPInstanceUID for item in study.RTReferencedSeriesSequence[0].ContourImageSequence
    ]
    names = [roi.ROIName for roi in written.StructureSetROISequence]
    stomach, kidney, unknown = written.RTROIObservationsSequence

    assert images == [plane.sop_instance_uid for plane in series.planes]
    assert names == ["Stomach", "Kidney_R", "unheard_of"]
    assert stomach.RTROIIdentificationCodeSequence[0].CodeValue == "69695003"
    side = kidney.RTROIIdentificationCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeMeaning == "Right"
    assert "RTROIIdentificationCodeSequence" not in unknown
    assert {roi.ROIGenerationDescription.split()[-1] for roi in written.StructureSetROISequence} == {"ab" * 6}


def test_organs_that_overlap_come_back_each_for_itself(tmp_path):
    series = phantom_series(tmp_path / "series", orientation="oblique")
    masks = dict(zip(("stomach", "liver", "spleen"), overlapping_masks(), strict=True))
    path = tmp_path / "rt.dcm"

    write_rtstruct(path, series, organ_masks(masks))

    again = own_planes(path, series)
    for name, mask in masks.items():
        assert (again[name.capitalize()] == mask).all()


def test_organs_that_are_empty_are_left_out_and_told(tmp_path):
    series = phantom_series(tmp_path / "series")
    nothing = np.zeros(SHAPE, bool)

    empty = write_rtstruct(
        tmp_path / "rt.dcm", series, organ_masks({"stomach": nothing, "liver": geometry_mask()})
    )

    written = dcmread(tmp_path / "rt.dcm")
    assert empty == ("stomach",)
    assert [roi.ROIName for roi in written.StructureSetROISequence] == ["Liver"]
    assert "stomach" in written.StructureSetDescription


def test_nothing_is_written_where_all_organs_are_empty(tmp_path):
    series = phantom_series(tmp_path / "series")

    write_rtstruct(tmp_path / "rt.dcm", series, organ_masks({"stomach": np.zeros(SHAPE, bool)}))

    assert not (tmp_path / "rt.dcm").exists()


def test_private_tags_and_texts_of_a_bad_character_set_are_kept_apart(tmp_path):
    """The bytes of a name are those of the source even where nobody can say what letters they are."""
    series = phantom_series(tmp_path / "series", PatientName="NAME^REPLACED")
    for plane in series.planes:
        content = plane.path.read_bytes()
        plane.path.write_bytes(
            content.replace(b"NAME^REPLACED", b"N\xff\xfe\x80^REPLACED").replace(b"ISO_IR 100", b"ISO_IR 999")
        )

    write_rtstruct(tmp_path / "rt.dcm", series, organ_masks({"liver": geometry_mask()}))

    written = dcmread(tmp_path / "rt.dcm")
    assert written.get_item("PatientName").value.strip() == b"N\xff\xfe\x80^REPLACED"
    assert not [element for element in written if element.tag.is_private]


@pytest.mark.parametrize(
    ("tag", "told"), [("FrameOfReferenceUID", "frame of reference"), ("StudyInstanceUID", "study")]
)
def test_a_series_that_nothing_can_be_tied_to_is_refused(tag, told, tmp_path):
    """UIDs that anonymising has removed are not made up."""
    write_series(tmp_path / "series", **{tag: None})
    series = open_series(tmp_path / "series", salt=SALT, allow_no_frame=True)

    with pytest.raises(UserError, match=f"lacks the UID of {told}; nothing can be tied"):
        write_rtstruct(tmp_path / "rt.dcm", series, organ_masks({"liver": geometry_mask()}))


def test_a_header_with_texts_beyond_reason_is_refused(tmp_path):
    series = phantom_series(tmp_path / "series", PatientName="X" * 65000)

    with pytest.raises(UserError, match="longer than 4096 bytes"):
        write_rtstruct(tmp_path / "rt.dcm", series, organ_masks({"liver": geometry_mask()}))


def test_series_that_were_exchanged_since_are_refused(tmp_path):
    series = phantom_series(tmp_path / "series")
    phantom_series(tmp_path / "series")

    with pytest.raises(UserError, match="changed since"):
        write_rtstruct(tmp_path / "rt.dcm", series, organ_masks({"liver": geometry_mask()}))


@pytest.mark.parametrize("orientation", ["axial", "oblique", "coronal", "sagittal_up"])
def test_a_sphere_has_its_place_and_its_volume(orientation, tmp_path):
    """The voxels within 18 mm of a point: the contours have their centroid and volume."""
    series = phantom_series(
        tmp_path / "series", orientation=orientation, shape=(24, 40, 48), spacing_mm=(1.25, 1.5, 2.0)
    )
    columns, rows = np.meshgrid(np.arange(48), np.arange(40))
    places = np.array([plane.points_at(columns, rows) for plane in series.planes])
    centre = places.reshape(-1, 3).mean(axis=0) + np.array([0.3, -0.2, 0.1])
    inside = np.linalg.norm(places - centre, axis=-1) < 18
    write_rtstruct(tmp_path / "rt.dcm", series, organ_masks({"liver": inside}))

    area, moment = 0.0, np.zeros(3)
    for item in dcmread(tmp_path / "rt.dcm").ROIContourSequence[0].ContourSequence:
        points = np.reshape([float(value) for value in item.ContourData], (-1, 3))
        begin = points[0]
        crossed = np.cross(points - begin, np.roll(points, -1, axis=0) - begin) @ series.planes[0].normal / 2
        area += crossed.sum()
        thirds = (points + np.roll(points, -1, axis=0) + begin) / 3
        moment += (crossed[:, None] * thirds).sum(axis=0)
    volume_ml = abs(area) * 2.0 / 1000

    assert np.linalg.norm(moment / area - places[inside].mean(axis=0)) < 0.01
    assert np.linalg.norm(moment / area - centre) < 0.05
    assert volume_ml == pytest.approx(inside.sum() * 1.25 * 1.5 * 2 / 1000, rel=1e-3)


def test_numbers_are_decimal_strings_of_at_most_16_characters():
    text = decimal_text(np.array([[-1e-9, 12345.123456789, -99999999.12345], [0.00005, 1e-5, 7.0]]))

    parts = text.decode().rstrip().split("\\")
    assert parts[:2] == ["0.0", "12345.1235"]
    assert all(len(part) <= 16 and "e" not in part for part in parts)
    assert len(text) % 2 == 0


def test_places_that_no_patient_can_be_at_are_refused():
    with pytest.raises(UserError, match="positions are wrong"):
        decimal_text(np.array([[0.0, 0.0, float("nan")]]))
