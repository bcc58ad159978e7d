"""The first tags of an image, of friends and of others."""

import os
import struct

import pytest

pytest.importorskip("pydicom", reason="needs volseg[dicom]")

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.dicom_series import write_series
from volseg.dicom.node.image_header import MOST_BYTES, parse_header, read_header
from volseg.dicom.node.series_rules import fitting_rules, may_grow_to_fit, read_facts
from volseg.dicom.node.settings import validate_settings

SHAPE = (3, 8, 8)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom; a node is silent


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [("axial", "axial"), ("axial_up", "axial"), ("coronal", "coronal"), ("sagittal_up", "sagittal"),
     ("oblique", "axial")],
)  # fmt: skip
def test_the_plane_is_the_nearest_one(tmp_path, orientation, plane) -> None:
    image = write_series(tmp_path, shape=SHAPE, orientation=orientation)[0]

    assert read_header(image).orientation == plane


def test_an_enhanced_image_has_as_many_slices_as_frames(tmp_path) -> None:
    path = write_series(tmp_path, shape=SHAPE)[0]
    image = dcmread(path)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    image.NumberOfFrames = 20
    plane, shared = Dataset(), Dataset()
    plane.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    shared.PlaneOrientationSequence = Sequence([plane])
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    del image.ImageOrientationPatient
    image.save_as(path)

    header = read_header(path)
    assert (header.slices, header.orientation) == (20, "sagittal")


def test_junk_and_images_cut_anywhere_are_no_images(tmp_path) -> None:
    whole = write_series(tmp_path, shape=SHAPE)[0].read_bytes()
    end = whole.index(b"\x20\x00\x0e\x00")  # SeriesInstanceUID

    assert parse_header(whole) is not None
    assert not any(parse_header(whole[:size]) for size in range(0, end, 7))
    assert not any(parse_header(os.urandom(500)) for _ in range(20))


@pytest.mark.parametrize("key", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [b"", b"1." * 40])
def test_an_image_without_a_uid_is_none(tmp_path, key, value) -> None:
    path = write_series(tmp_path, shape=SHAPE)[0]
    image = dcmread(path)
    image[key].value = value.decode()
    image.save_as(path)

    assert read_header(path) is None


def test_deep_nesting_and_huge_lengths_are_no_images(tmp_path) -> None:
    whole = write_series(tmp_path, shape=SHAPE)[0].read_bytes()
    start = whole.index(b"\x08\x00\x05\x00")
    nested = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20_000
    long = b"\x08\x00\x00\x80UN\0\0" + struct.pack("<L", 2**32 - 2)

    assert parse_header((whole[:start] + nested)[:MOST_BYTES]) is None
    assert parse_header(whole[:start] + long + whole[start:]) is None


def test_a_deflated_image_is_not_unpacked(tmp_path) -> None:
    path = write_series(tmp_path, shape=SHAPE)[0]
    image = dcmread(path)
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    image.save_as(path)

    assert read_header(path) is None


RULE = {"name": "r", "modality": "MR", "runs": ["x"]}


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({}, True), ({"modality": "CT"}, False), ({"description": "SERIES$"}, True),
        ({"description": "^series"}, False), ({"orientation": "axial"}, True),
        ({"orientation": "coronal"}, False), ({"body_part": "abdomen"}, True), ({"body_part": "head"}, False),
        ({"min_slices": 3}, True),
    ],
)  # fmt: skip
def test_a_rule_asks_for_modality_description_plane_body_part_and_slices(tmp_path, rule, fits) -> None:
    settings = validate_settings({"spool": "x", "rules": [{**RULE, **rule}]}, "test")
    facts = read_facts(write_series(tmp_path, shape=SHAPE))

    assert bool(fitting_rules(settings, facts)) == may_grow_to_fit(settings, facts) == fits


def test_a_series_with_too_few_slices_may_grow(tmp_path) -> None:
    settings = validate_settings({"spool": "x", "rules": [{**RULE, "min_slices": 4}]}, "test")
    facts = read_facts(write_series(tmp_path, shape=SHAPE))

    assert not fitting_rules(settings, facts)
    assert may_grow_to_fit(settings, facts)


def test_a_series_fits_every_rule_that_it_fits(tmp_path) -> None:
    rules = [RULE, {**RULE, "name": "second"}, {**RULE, "name": "third", "modality": "CT"}]
    settings = validate_settings({"spool": "x", "rules": rules}, "test")

    fitting = fitting_rules(settings, read_facts(write_series(tmp_path, shape=SHAPE)))
    assert [rule.name for rule in fitting] == ["r", "second"]
