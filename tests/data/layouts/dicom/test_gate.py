"""Series whose images do not belong together or whose values have no scale, and names of what is taken."""

import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.dicom_series import write_series
from volseg.data.layouts.dicom import duplicates, headers
from volseg.data.layouts.dicom.find import _Finder, find_series
from volseg.data.layouts.dicom.found_series import FoundSeries
from volseg.data.layouts.dicom.pixels import read_volume

SALT = b"salt of the tests"
SHAPE = (6, 12, 10)
ONE_SERIES = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2"}
NAME = b"\x10\x00\x10\x00PN"


def find(folder: Path) -> FoundSeries:
    return find_series([folder], salt=SALT)


def refused_kinds(folder: Path) -> set[str]:
    found = find(folder)
    assert not found.volumes
    return {one.kind for one in found.refused}


def replace_bytes(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new))


UNREADABLE = {
    "comma": b"1,7700",
    "nan": b"nan   ",
    "inf": b"1e999 ",
    "text": b"1.77 x",
    "underscore": b"1_7700",
}


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_a_slope_that_cannot_be_read_is_refused(tmp_path: Path, what: str, modality: str) -> None:
    tags = {"RescaleSlope": "1.7700", "RescaleIntercept": "0"}
    path = write_series(tmp_path, shape=SHAPE, modality=modality, **tags)[2]
    replace_bytes(path, b"1.7700", UNREADABLE[what])

    assert refused_kinds(tmp_path) == {"rescale"}


SCALES: dict[str, tuple[str, dict[str, Any]]] = {
    "a slope of 0": ("MR", {"RescaleSlope": "0", "RescaleIntercept": "0"}),
    "a slope beyond sense": ("MR", {"RescaleSlope": "1e12", "RescaleIntercept": "0"}),
    "two intercepts": ("CT", {"RescaleIntercept": ["-1024", "-1024"]}),
    "no scale of a CT": ("CT", {"RescaleSlope": None, "RescaleIntercept": None}),
    "a slope of some slices": ("MR", {"RescaleSlope": lambda number: "2" if number % 2 else None}),
    "an intercept of some": ("CT", {"RescaleIntercept": lambda number: "-1024" if number else None}),
    "no Hounsfield units": ("CT", {"RescaleType": "Z_EFF"}),
}


@pytest.mark.parametrize("what", SCALES)
def test_a_scale_that_gives_no_right_values_is_refused(tmp_path: Path, what: str) -> None:
    modality, tags = SCALES[what]
    write_series(tmp_path, shape=SHAPE, modality=modality, **tags)

    assert refused_kinds(tmp_path) == {"rescale"}


def test_a_slope_of_another_type_of_value_is_refused(tmp_path: Path) -> None:
    for path in write_series(tmp_path, shape=SHAPE, modality="CT", RescaleSlope="2"):
        data = path.read_bytes()
        place = data.index(b"\x28\x00\x53\x10DS")
        path.write_bytes(data[:place] + b"\x28\x00\x53\x10US\x02\x00\x02\x00" + data[place + 10 :])

    assert refused_kinds(tmp_path) == {"rescale"}


def test_a_large_intercept_is_taken(tmp_path: Path) -> None:
    write_series(tmp_path, shape=SHAPE, RescaleSlope="1", RescaleIntercept="2000000")

    assert read_volume(find(tmp_path).volumes[0]).voxels.min() > 2_000_000


@pytest.mark.parametrize("kind", ["HU", "US", "", None])
def test_a_ct_of_hounsfield_units_or_unspecified_ones_is_taken(tmp_path: Path, kind: str | None) -> None:
    write_series(tmp_path, shape=SHAPE, modality="CT", RescaleType=kind)

    assert find(tmp_path).volumes


def two(first: str, second: str) -> Callable[[int], str]:
    return lambda number: first if number < 3 else second


MIXTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "two numbers of patients": ("mixed patients", {"PatientID": two("A", "B")}),
    "a number in some": ("mixed patients", {"PatientID": two("A", "")}),
    "two names without numbers": ("mixed patients", {"PatientID": "", "PatientName": two("A^A", "B^B")}),
    "two studies": ("mixed studies", {"StudyInstanceUID": two("1.2.1", "1.2.2")}),
    "one UID for all images": ("repeated UID", {"SOPInstanceUID": "1.2.3.4"}),
}


@pytest.mark.parametrize("what", MIXTURES)
def test_images_that_do_not_belong_together_are_refused(tmp_path: Path, what: str) -> None:
    kind, tags = MIXTURES[what]
    write_series(tmp_path, shape=SHAPE, **tags)

    assert refused_kinds(tmp_path) == {kind}


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_a_series_with_0_white_in_some_images_is_refused(tmp_path: Path, modality: str) -> None:
    path = write_series(tmp_path, shape=SHAPE, modality=modality)[2]
    dataset = pydicom.dcmread(path)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(path)

    assert refused_kinds(tmp_path) == {"pixel format"}


def test_bits_that_do_not_fit_a_pixel_are_refused(tmp_path: Path) -> None:
    for path in write_series(tmp_path, shape=SHAPE):
        dataset = pydicom.dcmread(path)
        dataset.BitsStored, dataset.HighBit = 12, 5
        dataset.save_as(path)

    assert refused_kinds(tmp_path) == {"pixel format"}


EMPTY_SEQUENCE = b"SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\xdd\xe0\0\0\0\0"
NAMES = {"a sequence": EMPTY_SEQUENCE, "a number": b"US\x02\x00AB", "bytes": b"OB\0\0\x06\0\0\0CANARY"}


@pytest.mark.parametrize("what", NAMES)
def test_a_patient_that_is_no_text_is_unreadable(tmp_path: Path, what: str) -> None:
    for path in write_series(tmp_path, shape=SHAPE):
        data = path.read_bytes()
        place = data.index(NAME)
        length = struct.unpack("<H", data[place + 6 : place + 8])[0]
        path.write_bytes(data[: place + 4] + NAMES[what] + data[place + 8 + length :])

    assert refused_kinds(tmp_path) == {"unreadable"}
    assert "CANARY" not in str(find(tmp_path))


def test_a_copy_with_another_scale_is_another_image(tmp_path: Path) -> None:
    paths = write_series(tmp_path, shape=SHAPE, modality="CT")
    dataset = pydicom.dcmread(paths[2])
    dataset.RescaleIntercept = "0"
    dataset.save_as(tmp_path / "copy.dcm")

    assert refused_kinds(tmp_path) == {"doubled slice"}


def test_a_copy_with_another_header_is_left_out(tmp_path: Path) -> None:
    paths = write_series(tmp_path, shape=SHAPE)
    dataset = pydicom.dcmread(paths[2])
    dataset.InstitutionName = "sent through another archive"
    dataset.save_as(tmp_path / "copy.dcm")

    assert len(find(tmp_path).volumes[0].planes) == 6


def test_pixels_of_large_files_are_never_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_series(tmp_path, shape=SHAPE)
    (tmp_path / "same.dcm").write_bytes(paths[2].read_bytes())
    monkeypatch.setattr(duplicates, "PIXELS_ALONE", 100)
    read: list[int] = []
    original = pydicom.dcmread

    def watched(path: Any, **options: Any) -> Any:
        read.append("stop_before_pixels" not in options)
        return original(path, **options)

    monkeypatch.setattr(pydicom, "dcmread", watched)

    assert len(find(tmp_path).volumes[0].planes) == 6
    assert not any(read)


FORMS: dict[str, dict[str, Any]] = {
    "frame of reference": {"FrameOfReferenceUID": "1.2.77"},
    "spacing": {"PixelSpacing": ["2.5", "3"]},
    "tiny turn": {
        "ImageOrientationPatient": ["1", "0", "0", "0", f"{np.cos(0.0005):.9f}", f"{np.sin(5e-4):.9f}"]
    },
    "class": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.4"},
    "size": {"shape": (6, 12, 12)},
    "echo": {"EchoTime": "30"},
    "kind": {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
    "time": {"TemporalPositionIdentifier": 7},
}


@pytest.mark.parametrize("what", FORMS)
def test_volumes_of_one_series_have_names_of_their_own(tmp_path: Path, what: str) -> None:
    write_series(tmp_path / "a", **{"shape": SHAPE, **ONE_SERIES})
    write_series(tmp_path / "b", **{"shape": SHAPE, **ONE_SERIES, **FORMS[what]})

    found = find(tmp_path)

    assert len({series.name for series in found.volumes}) == 2
    assert {len(found.pick([series.name])) for series in found.volumes} == {1}
    assert len(found.facts) == 2


def test_volumes_without_any_uid_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for path in write_series(tmp_path / name, shape=SHAPE, SeriesInstanceUID=None, StudyInstanceUID=None):
            dataset = pydicom.dcmread(path)
            del dataset.SOPInstanceUID
            dataset.FrameOfReferenceUID = "1.2"
            del dataset.file_meta.MediaStorageSOPInstanceUID
            dataset.save_as(path)

    assert len({series.name for series in find(tmp_path).volumes}) == 2


def write_shifted(folder: Path, **moments: tuple[Any, Any]) -> None:
    """Two volumes of one series, the second half a slice further."""
    for number, name in enumerate("ab"):
        tags = {key: values[number] for key, values in moments.items()}
        for path in write_series(folder / name, shape=SHAPE, **ONE_SERIES, **tags):
            dataset = pydicom.dcmread(path)
            dataset.ImagePositionPatient[2] += 1.5 * number
            dataset.save_as(path)


def test_two_times_that_lie_between_each_other_are_two_volumes(tmp_path: Path) -> None:
    write_shifted(tmp_path, TemporalPositionIdentifier=(1, 2), AcquisitionNumber=(1, 2))

    volumes = find(tmp_path).volumes

    assert [len({plane.path.parent for plane in series.planes}) for series in volumes] == [1, 1]


@pytest.mark.parametrize("key", ["AcquisitionNumber", "TriggerTime"])
def test_slices_that_may_be_one_volume_or_two_are_refused(tmp_path: Path, key: str) -> None:
    write_shifted(tmp_path, **{key: (1, 2)})

    assert refused_kinds(tmp_path) == {"mixed times"}


def test_acquisitions_above_each_other_are_one_volume(tmp_path: Path) -> None:
    write_series(tmp_path, shape=SHAPE, AcquisitionNumber=lambda number: 1 + number // 3)

    assert len(find(tmp_path).volumes) == 1


def test_ten_thousand_orientations_are_judged_soon(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, shape=(1, 4, 4))
    dataset = headers.read_header(path)
    assert dataset is not None
    (one,) = headers.read_slices(dataset, headers.read_file(dataset, path))
    assert one.plane
    finder = _Finder(SALT, allow_no_frame=False)
    for number, angle in enumerate(np.linspace(0.01, 1.5, 10_000)):
        turned = (0.0, float(np.cos(angle)), float(np.sin(angle)))
        plane = replace(one.plane, frame=number + 1, position=(0.0, 0.0, number), column_direction=turned)
        finder._slices[("1.2",)].append(replace(one, plane=plane))
    start = time.monotonic()

    refused = finder.found().refused

    assert [one.kind for one in refused] == ["mixed orientation"]
    assert time.monotonic() - start < 4  # alone it is half a second
