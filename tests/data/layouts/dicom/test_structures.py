"""RTSTRUCT in: even-odd over all contours of a slice, and everything that is skipped is counted and told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from tests.dicom_series import write_series
from volseg.data.layouts.dicom.find import open_series
from volseg.data.layouts.dicom.rasterizing import fill_contours
from volseg.data.layouts.dicom.structures import structure_masks, structure_names
from volseg.errors import UserError

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SQUARE = [(9.5, 9.5), (19.5, 9.5), (19.5, 19.5), (9.5, 19.5)]
INNER = [(12.5, 12.5), (16.5, 12.5), (16.5, 16.5), (12.5, 16.5)]
KEYHOLE = [
    *((9.5, 9.5), (12.5, 9.5), (12.5, 12.5), (12.5, 16.5), (16.5, 16.5), (16.5, 12.5), (12.5, 12.5)),
    *((12.5, 9.5), (19.5, 9.5), (19.5, 19.5), (9.5, 19.5)),
]
CLOSED, XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"


@pytest.fixture(scope="module", params=["axial", "oblique"])
def series(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    write_series(folder, orientation=request.param, shape=(8, 30, 32))
    return open_series(folder, salt=b"of the tests")


def contour(series, points, *, plane=3, kind=CLOSED, off_mm=0.0, **tags):
    """An item of a contour through points (column, row) of a plane, or so far off it."""
    columns, rows = np.array(points, float).reshape(-1, 2).T
    image = series.planes[plane]
    item = Dataset()
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(columns)
    places = image.points_at(columns, rows) + off_mm * image.normal
    item.ContourData = [f"{value:.6f}" for value in places.ravel()]
    for key, value in tags.items():
        setattr(item, key, value)
    return item


def write_structures(path, series, structures, *, frame=None):
    """An RTSTRUCT of named lists of contours; None is a structure without ContourSequence."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTSTRUCT, generate_uid()
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(structures, 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = frame or series.frame_of_reference_uid
        drawn.ReferencedROINumber = number
        if contours is not None:
            drawn.ContourSequence = contours
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def read(series, tmp_path):
    """A function that reads contours of one structure: its planes and the notes."""

    def read_contours(*contours):
        path = write_structures(tmp_path / "rt.dcm", series, [("organ", list(contours))])
        found = structure_masks(path, series)
        return series.planes_of_volume(found.masks["organ"]), found.notes

    return read_contours


def square_with_hole():
    mask = np.zeros((30, 32), bool)
    mask[10:20, 10:20] = True
    mask[13:17, 13:17] = False
    return mask


@pytest.mark.parametrize(
    "outlines",
    [
        [(SQUARE, CLOSED), (INNER, CLOSED)],
        [(SQUARE, XOR), (INNER, XOR)],
        [(KEYHOLE, CLOSED)],
        [(KEYHOLE[::-1], CLOSED)],
    ],
)
def test_a_hole_is_a_hole_however_it_is_written(series, read, outlines):
    planes, notes = read(*(contour(series, points, kind=kind) for points, kind in outlines))

    assert (planes[3] == square_with_hole()).all()
    assert planes.sum() == square_with_hole().sum()
    assert notes == ()


def skipped(planes, notes, text):
    """Whether all was skipped, and the note says so."""
    assert not planes.any()
    assert notes == (f"'organ': 1 contour {text}",)


def test_fewer_than_three_points_are_skipped(series, read):
    skipped(*read(contour(series, SQUARE[:2])), "with fewer than three points skipped")


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"])
def test_points_and_open_lines_are_skipped(series, read, kind):
    skipped(*read(contour(series, SQUARE, kind=kind)), f"of the kind {kind} skipped")


def test_contours_beyond_the_slices_are_skipped(series, read):
    skipped(*read(contour(series, SQUARE, plane=7, off_mm=2.0)), "beyond the first or last slice skipped")


def test_contours_outside_the_image_are_skipped(series, read):
    away = [(column + 100, row) for column, row in SQUARE]

    skipped(*read(contour(series, away)), "outside the image skipped")


def test_contours_across_the_slices_are_skipped(series, read):
    item = contour(series, SQUARE)
    places = np.reshape([float(value) for value in item.ContourData], (-1, 3))
    places[0] += 2 * series.planes[0].normal
    item.ContourData = [f"{value:.6f}" for value in places.ravel()]

    skipped(*read(item), "that is not parallel to the slices skipped")


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4], ["1e400"] * 9])
def test_contours_with_damaged_numbers_are_skipped(series, read, numbers):
    item = contour(series, SQUARE)
    item.ContourData = [str(number) for number in numbers]

    skipped(*read(item), "with damaged numbers skipped")


@pytest.mark.parametrize("value", ["1e300", "-1e300", "nan", "inf", "1e6"])
@pytest.mark.filterwarnings("error")
def test_contours_at_places_that_no_patient_can_be_at_are_skipped(value, series, read):
    item = contour(series, SQUARE)
    text = "\\".join([value] * 9).encode()
    item[0x30060050] = RawDataElement(Tag(0x30060050), "DS", len(text), text, 0, True, True)

    planes, notes = read(item, contour(series, INNER))

    assert planes.sum() == planes[3].sum() == 16
    assert notes == ("'organ': 1 contour with damaged numbers skipped",)


def test_a_contour_without_data_has_too_few_points(series, read):
    item = contour(series, SQUARE)
    del item.ContourData

    skipped(*read(item), "with fewer than three points skipped")


def test_a_contour_that_holds_no_centre_is_told(series, read):
    skipped(
        *read(contour(series, [(5.2, 5.2), (5.6, 5.2), (5.6, 5.6)])),
        "too small to hold the centre of a voxel",
    )


def test_contours_over_the_edge_are_cut_off_there_and_told(series, read):
    planes, notes = read(contour(series, [(-5, -5), (4.5, -5), (4.5, 4.5), (-5, 4.5)]))

    assert planes[3, :5, :5].all()
    assert planes.sum() == 25
    assert notes == ("'organ': 1 contour cut off at the edge of the image",)


def test_a_contour_on_the_very_edge_is_not_told(series, read):
    _, notes = read(contour(series, [(-0.5, -0.5), (31.5, -0.5), (31.5, 29.5), (-0.5, 29.5)]))

    assert notes == ()


def test_a_contour_between_slices_is_of_the_nearest_one_and_told(series, read):
    planes, notes = read(contour(series, SQUARE, off_mm=1.2))

    assert planes[3].sum() == 100
    assert notes == ("'organ': 1 contour 1.20 mm off its slice; the nearest slice has it",)


def test_several_contours_are_told_as_several(series, read):
    """Between slices, and across them."""
    _, between = read(*(contour(series, SQUARE, plane=plane, off_mm=1.2) for plane in (2, 3)))
    tilted = [contour(series, SQUARE) for _ in range(2)]
    for item in tilted:
        places = np.reshape([float(value) for value in item.ContourData], (-1, 3))
        places[0] += 2 * series.planes[0].normal
        item.ContourData = [f"{value:.6f}" for value in places.ravel()]
    _, across = read(*tilted)

    assert between == ("'organ': 2 contours up to 1.20 mm off their slices; the nearest slices have them",)
    assert across == ("'organ': 2 contours that are not parallel to the slices skipped",)


@pytest.mark.parametrize(
    ("count", "told"), [(1, "contours of 1 structure that"), (2, "contours of 2 structures that")]
)
def test_contours_of_structures_that_are_not_named_are_counted(count, told, series, tmp_path):
    named = [("organ", [contour(series, SQUARE)])]
    path = write_structures(tmp_path / "rt.dcm", series, [*named, *(("x", []) for _ in range(count))])
    dataset = dcmread(path)
    dataset.StructureSetROISequence = dataset.StructureSetROISequence[:1]
    dataset.save_as(path)

    assert told in structure_masks(path, series).notes[0]


def test_of_contours_drawn_closer_than_the_slices_only_the_nearest_count(series, read):
    """Together they would cancel each other out."""
    planes, notes = read(contour(series, SQUARE, off_mm=0.9), contour(series, SQUARE))

    assert planes[3].sum() == 100
    assert notes == ("'organ': 1 contour between slices, of which another contour lies nearer skipped",)


def test_a_contour_is_of_the_slice_where_it_lies_not_of_the_image_it_names(series, read):
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = RTSTRUCT, series.planes[0].sop_instance_uid

    planes, notes = read(contour(series, SQUARE, plane=5, ContourImageSequence=[image]))

    assert planes[5].sum() == planes.sum() == 100
    assert notes == ()


def test_slices_without_a_contour_between_others_are_told(series, read):
    _, notes = read(contour(series, SQUARE, plane=1), contour(series, SQUARE, plane=5))

    assert notes == ("'organ': 3 slices between its first and last one without a contour",)


def test_a_structure_without_contours_is_empty_and_told(series, tmp_path):
    path = write_structures(tmp_path / "rt.dcm", series, [("organ", None), ("other", [])])

    found = structure_masks(path, series)

    assert not any(mask.voxels.any() for mask in found.masks.values())
    assert found.notes == tuple(
        f"'{name}': has no contours; its mask is empty" for name in ("organ", "other")
    )


def test_a_structure_in_another_frame_of_reference_is_skipped_and_told(series, tmp_path):
    path = write_structures(
        tmp_path / "rt.dcm", series, [("organ", [contour(series, SQUARE)])], frame="1.2.3"
    )

    found = structure_masks(path, series)

    assert found.masks == {}
    assert "another frame of reference" in found.notes[0]


def test_structures_of_one_name_or_none_are_numbered_and_told(series, tmp_path):
    same = [("organ", [contour(series, SQUARE)]), ("organ", [contour(series, INNER)]), ("", [])]
    path = write_structures(tmp_path / "rt.dcm", series, same)

    names = structure_names(path)
    found = structure_masks(path, series, only=["organ_2"])

    assert names == ("organ", "organ_2", "structure_3")
    assert [mask.voxels.sum() for mask in found.masks.values()] == [16]
    assert len(found.notes) == 2


def test_masks_are_on_the_grid_of_the_series(series, tmp_path):
    path = write_structures(tmp_path / "rt.dcm", series, [("organ", [contour(series, SQUARE)])])

    mask = structure_masks(path, series).masks["organ"]

    assert mask.voxels.dtype == np.bool_
    assert mask.voxels.shape == series.shape
    assert np.allclose(mask.affine, series.affine)


@pytest.mark.parametrize("content", [b"", b"no DICOM", b"\0" * 128 + b"DICM" + b"\xff" * 60])
def test_what_is_no_rtstruct_is_refused_without_its_path(content, tmp_path):
    path = tmp_path / "Doe^Jane.dcm"
    path.write_bytes(content)

    with pytest.raises(UserError) as told:
        structure_names(path)

    assert "Doe" not in str(told.value)


def test_images_are_no_rtstruct(series):
    with pytest.raises(UserError, match="is DICOM, but no RTSTRUCT"):
        structure_names(series.planes[0].path)


@given(arrays(np.int64, (4, 2), elements=st.integers(-2, 9)))
def test_of_two_triangles_that_share_an_edge_one_has_each_voxel_on_it(corners):
    """Vertices on voxel centres: a fixed rule says which has them, so none is in both or in neither."""
    a, b, c, d = corners.astype(float)
    shape = (8, 8)

    halves = fill_contours([np.array([a, b, c])], shape) ^ fill_contours([np.array([a, c, d])], shape)

    assert (halves == fill_contours([np.array([a, b, c, d])], shape)).all()
