"""Objects of enhanced series: every reference names the very frame that lies where the contour or mask is."""

import numpy as np
import pytest
from pydicom import dcmread

from tests.dicom import judges
from tests.dicom.enhanced_series import SHAPE, frame_places, write_enhanced
from tests.dicom.geometry_phantom import SALT, organ_masks
from volseg.data.layouts.dicom.find import find_series
from volseg.dicom.rtstruct import write_rtstruct
from volseg.dicom.segmentation import write_segmentation

ORGANS = ("stomach", "liver", "spleen")
SHUFFLED = [3, 0, 7, 1, 2, 6, 5, 4]
FORMS = {
    "one file, frames in no order": ([SHUFFLED], (10,)),
    "two echoes in one file": ([SHUFFLED], (10, 80)),
    "a file a frame": ([[one] for one in SHUFFLED], (10,)),
    "two files of four frames": ([SHUFFLED[:4], SHUFFLED[4:]], (10,)),
}


@pytest.fixture(params=FORMS)
def enhanced(request, tmp_path):
    """The folder of a series in each form, and its volumes."""
    files, echoes = FORMS[request.param]
    write_enhanced(tmp_path / "series", files, echoes_ms=echoes)
    volumes = find_series([tmp_path / "series"], salt=SALT).volumes
    assert len(volumes) == len(echoes)
    return tmp_path / "series", volumes


def masks(count):
    """So many organs, each on all slices."""
    found = {}
    for number, organ in enumerate(ORGANS[:count]):
        found[organ] = np.zeros(SHAPE, bool)
        found[organ][:, 4 + number : 12, 6:20] = True
    return organ_masks(found)


def echo_of(volume, places):
    plane = volume.planes[0]
    return places[plane.sop_instance_uid, plane.frame][0]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_frames_of_a_seg_name_the_frames_at_their_places(count, enhanced, tmp_path):
    folder, volumes = enhanced
    places = frame_places(folder)
    for volume in volumes:
        write_segmentation(tmp_path / "seg.dcm", volume, masks(count))
        written = dcmread(tmp_path / "seg.dcm")

        assert len(written.PerFrameFunctionalGroupsSequence) == count * SHAPE[0]
        for group in written.PerFrameFunctionalGroupsSequence:
            (image,) = group.DerivationImageSequence[0].SourceImageSequence
            there = places[image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber]
            own = [*map(float, group.PlanePositionSequence[0].ImagePositionPatient)]
            assert there == (echo_of(volume, places), pytest.approx(own))
        (series,) = written.ReferencedSeriesSequence
        named = [image.ReferencedSOPInstanceUID for image in series.ReferencedInstanceSequence]
        assert sorted(named) == sorted({uid for uid, _ in places})
        assert judges.errors_of_dciodvfy(tmp_path / "seg.dcm") == []


def test_contours_name_the_frames_at_their_places(enhanced, tmp_path):
    folder, volumes = enhanced
    places = frame_places(folder)
    for volume in volumes:
        write_rtstruct(tmp_path / "rt.dcm", volume, masks(2))

        contours = [
            contour
            for organ in dcmread(tmp_path / "rt.dcm").ROIContourSequence
            for contour in organ.ContourSequence
        ]
        assert len(contours) == 2 * SHAPE[0]
        for contour in contours:
            (image,) = contour.ContourImageSequence
            echo, place = places[image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber]
            assert (echo, place[2]) == (echo_of(volume, places), pytest.approx(contour.ContourData[2]))
