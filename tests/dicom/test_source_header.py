"""What is taken from a series: texts alone, without a word of them anywhere else."""

import struct
import warnings
from dataclasses import replace

import pytest

from tests.dicom.geometry_phantom import geometry_mask, organ_masks, phantom_series
from volseg.dicom.rtstruct import write_rtstruct
from volseg.dicom.segmentation import write_segmentation
from volseg.dicom.source_header import read_source_header
from volseg.errors import UserError

NAME = b"\x10\x00\x10\x00PN"
INNER = b"\x10\x00\x20\x00LO\x06\x00CANARY"
ITEM = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(INNER)) + INNER
END = b"\xfe\xff\xdd\xe0\0\0\0\0"
VALUES = {
    "a sequence": b"\x10\x00\x10\x00SQ\0\0\xff\xff\xff\xff" + ITEM + END,
    "a sequence of a length": b"\x10\x00\x10\x00SQ\0\0" + struct.pack("<I", len(ITEM)) + ITEM,
    "an empty sequence": b"\x10\x00\x10\x00SQ\0\0\xff\xff\xff\xff" + END,
    "bytes": b"\x10\x00\x10\x00OB\0\0\x06\0\0\0CANARY",
    "of no kind": b"\x10\x00\x10\x00UN\0\0\x06\0\0\0CANARY",
    "numbers": b"\x10\x00\x10\x00US\x06\x00CANARY",
    "an item in a text": NAME + struct.pack("<H", len(ITEM)) + ITEM,
}


def series_with_names(folder, value):
    """A series whose files have this element where the patient's name should be."""
    series = phantom_series(folder)
    for plane in series.planes:
        content = plane.path.read_bytes()
        begin = content.index(NAME)
        (length,) = struct.unpack("<H", content[begin + 6 : begin + 8])
        plane.path.write_bytes(content[:begin] + value + content[begin + 8 + length :])
    return series


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("write", [write_rtstruct, write_segmentation])
def test_a_name_that_is_no_text_is_refused_and_nothing_written(value, write, tmp_path):
    series = series_with_names(tmp_path / "series", VALUES[value])

    with pytest.raises(
        UserError, match=f"series {series.name}: its header has no plain text in PatientName;"
    ) as told:
        write(tmp_path / "out.dcm", series, organ_masks({"liver": geometry_mask()}))

    assert "CANARY" not in str(told.value)
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize("write", [write_rtstruct, write_segmentation])
def test_nothing_is_warned_of_what_a_header_says(write, tmp_path, caplog):
    """pydicom's warnings quote the file."""
    series = phantom_series(tmp_path / "series", PatientName="A^B", StudyDate="20240105")
    for plane in series.planes:
        content = plane.path.read_bytes().replace(b"ISO_IR 100", b"CANARYCS99", 1)
        plane.path.write_bytes(content.replace(b"20240105", b"CANARY05"))

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        write(tmp_path / "out.dcm", series, organ_masks({"liver": geometry_mask()}))

    assert warned == []
    assert caplog.text == ""
    assert (tmp_path / "out.dcm").exists()


def test_images_that_share_a_uid_are_refused(tmp_path):
    series = phantom_series(tmp_path / "series")
    first, second, *others = series.planes
    twice = replace(second, sop_instance_uid=first.sop_instance_uid)

    with pytest.raises(UserError, match="several of its images have one SOP Instance UID"):
        read_source_header(replace(series, planes=(first, twice, *others)))

    frames = (replace(first, frame=1), replace(twice, frame=2), *others)
    read_source_header(replace(series, planes=frames))  # of frames of a file it is as it must be
