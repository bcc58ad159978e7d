import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.dicom_series import ORIENTATIONS, PEOPLE, example_pixels, write_series
from volseg.data.layouts.dicom.find import find_series, open_series
from volseg.data.layouts.dicom.found_series import DicomError, FoundSeries
from volseg.data.layouts.dicom.pixels import read_volume
from volseg.errors import UserError

SALT = b"salt of the tests"
ONE_SERIES = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2"}


def find(folder: Path, **options: Any) -> FoundSeries:
    return find_series([folder], salt=SALT, **options)


def edit(path: Path, **tags: Any) -> None:
    dataset = pydicom.dcmread(path)
    for key, value in tags.items():
        if value is None:
            delattr(dataset, key)
        else:
            setattr(dataset, key, value)
    dataset.save_as(path)


def refused_kinds(folder: Path) -> list[str]:
    found = find(folder)
    assert not found.volumes
    return [one.kind for one in found.refused]


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_a_series_is_one_volume_with_its_planes_in_order(tmp_path: Path, modality: str) -> None:
    paths = write_series(tmp_path, modality=modality, spacing_mm=(1.25, 1.5, 3.0))

    found = find(tmp_path)

    (series,) = found.volumes
    assert [plane.path for plane in series.planes] == paths
    assert series.shape == (64, 48, 14)
    assert found.listing() == [f"1: {series.name} ({modality}, 14 slices of 48x64, 1.25x1.50x3.00 mm)"]
    assert np.allclose(np.linalg.norm(series.affine[:3, :3], axis=0), (1.5, 1.25, 3.0))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_file_names_and_numbers_change_nothing(tmp_path: Path, orientation: str) -> None:
    paths = write_series(tmp_path / "a", orientation=orientation, SeriesInstanceUID="1.2.3")
    before = open_series(tmp_path / "a", salt=SALT)
    uids = [plane.sop_instance_uid for plane in before.planes]
    voxels = read_volume(before).voxels if orientation == "oblique" else None
    random.Random(0).shuffle(paths)
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for number, path in enumerate(paths):
        edit(path, InstanceNumber=1000 - int(pydicom.dcmread(path).InstanceNumber), SliceLocation=number)
        path.rename(tmp_path / "b" / ("deep" if number % 2 else "") / f"{number}.img")

    after = open_series(tmp_path / "b", salt=SALT)

    assert after.name == before.name
    assert np.array_equal(after.affine, before.affine)
    assert [plane.sop_instance_uid for plane in after.planes] == uids
    if voxels is not None:
        assert np.array_equal(read_volume(after).voxels, voxels)


def test_points_and_voxels_meet_in_every_orientation(tmp_path: Path) -> None:
    for orientation in ORIENTATIONS:
        for acquired in ("2D", "3D"):
            folder = tmp_path / orientation / acquired
            write_series(folder, orientation=orientation, MRAcquisitionType=acquired)
            series = open_series(folder, salt=SALT)
            pixels = example_pixels((14, 48, 64))
            volume = series.volume_of_planes(pixels)
            lps = series.planes[5].points_at(np.array(17), np.array(30))
            voxel = np.linalg.solve(series.affine, [-lps[0], -lps[1], lps[2], 1])[:3]
            assert np.allclose(voxel, np.rint(voxel), atol=1e-4)
            assert volume.voxels[tuple(np.rint(voxel).astype(int))] == pixels[5, 30, 17]
            back = series.planes_of_volume(volume)
            assert back is not None
            assert np.array_equal(back, pixels)


def move(path: Path, mm: float, axis: int = 2) -> None:
    position = [float(one) for one in pydicom.dcmread(path).ImagePositionPatient]
    position[axis] += mm
    edit(path, ImagePositionPatient=position)


def twin(path: Path, *, same_uid: bool = False) -> None:
    copy = Path(shutil.copy(path, path.with_name("twin.dcm")))
    dataset = pydicom.dcmread(copy)
    dataset.PixelData = bytes(len(dataset.PixelData))
    if not same_uid:
        dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.1"
    dataset.save_as(copy)


def shear(paths: list[Path]) -> None:
    for number, path in enumerate(paths):
        move(path, 0.5 * number, axis=1)


def paint(paths: list[Path]) -> None:
    for path in paths:
        edit(path, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)


def pile_up(paths: list[Path]) -> None:
    for path in paths:
        edit(path, ImagePositionPatient=[0, 0, 0])


EDITS: dict[str, tuple[str, Callable[[list[Path]], None]]] = {
    "a slice is missing": ("missing slice", lambda paths: paths[5].unlink()),
    "two slices together are missing": (
        "missing slice",
        lambda paths: [paths[number].unlink() for number in (5, 6)],
    ),
    "another image lies at a slice's place": ("doubled slice", lambda paths: twin(paths[5])),
    "one UID has two images": ("doubled slice", lambda paths: twin(paths[5], same_uid=True)),
    "a slice lies off its place": ("uneven distance", lambda paths: move(paths[5], 0.5)),
    "a slice is turned": (
        "mixed orientation",
        lambda paths: edit(paths[5], ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
    ),
    "slices are sheared": ("gantry tilt", shear),
    "a slice lies beside the others": ("shifted slice", lambda paths: move(paths[5], 2.0, axis=0)),
    "images are in colour": ("colour image", paint),
    "images are localisers": (
        "localiser",
        lambda paths: [edit(path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]) for path in paths],
    ),
    "images are projections": (
        "projection",
        lambda paths: [edit(path, ImageType=["DERIVED", "PRIMARY", "MIP"]) for path in paths],
    ),
    "no frame of reference": (
        "no frame of reference",
        lambda paths: [edit(path, FrameOfReferenceUID=None) for path in paths],
    ),
    "one slice": ("too few slices", lambda paths: [path.unlink() for path in paths[1:]]),
    "two slices": ("too few slices", lambda paths: [path.unlink() for path in paths[2:]]),
    "no position": ("no position", lambda paths: edit(paths[5], ImagePositionPatient=None)),
    "no spacing": ("no position", lambda paths: [edit(path, PixelSpacing=None) for path in paths]),
    "one slice at many times": ("one position", pile_up),
    "images of another kind": (
        "other images",
        lambda paths: [edit(path, SOPClassUID="1.2.840.10008.5.1.4.1.1.128") for path in paths],
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_what_is_no_volume_is_refused_by_its_own_reason(tmp_path: Path, what: str) -> None:
    kind, change = EDITS[what]
    change(write_series(tmp_path, SOPInstanceUID=lambda number: f"1.2.3.{number}"))

    assert set(refused_kinds(tmp_path)) == {kind}
    with pytest.raises(DicomError) as raised:
        open_series(tmp_path, salt=SALT)
    assert raised.value.kind == kind
    assert kind in str(raised.value)


def test_jitter_of_positions_as_scanners_write_it_is_no_fault(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for path in write_series(tmp_path):
        move(path, float(rng.uniform(-0.01, 0.01)))
        move(path, float(rng.uniform(-0.01, 0.01)), axis=0)

    assert len(find(tmp_path).volumes) == 1


def test_the_same_file_twice_is_told_and_taken_once(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    shutil.copy(paths[3], tmp_path / "copy.dcm")

    found = find(tmp_path)

    assert found.volumes[0].shape == (64, 48, 14)
    assert found.notes == ("1 image left out: the same image and pixels twice",)


def test_several_volumes_are_listed_and_picked_by_number_or_name(tmp_path: Path) -> None:
    for number, echo in enumerate(("80", "10")):
        tags = {**ONE_SERIES, "EchoTime": echo, "EchoNumbers": number + 1}
        write_series(tmp_path / echo, **tags)

    with pytest.raises(DicomError) as raised:
        open_series(tmp_path, salt=SALT)
    lines = str(raised.value).splitlines()
    assert raised.value.kind == "several volumes"
    assert "--series" in lines[0]
    assert lines[1].endswith("echo time 10 ms)")
    assert lines[2].endswith("echo time 80 ms)")
    second = find(tmp_path).volumes[1]
    assert open_series(tmp_path, "2", salt=SALT) == open_series(tmp_path, second.name, salt=SALT) == second
    assert {plane.path.parent.name for plane in second.planes} == {"80"}
    with pytest.raises(DicomError, match="no such volume"):
        open_series(tmp_path, "3", salt=SALT)


@pytest.mark.parametrize(
    "key", ["TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime"], ids=lambda key: key
)
def test_positions_that_repeat_in_time_are_several_volumes(tmp_path: Path, key: str) -> None:
    for moment in (1, 2, 3):
        write_series(tmp_path / str(moment), **{**ONE_SERIES, key: moment})

    volumes = find(tmp_path).volumes

    assert [len(series.planes) for series in volumes] == [14, 14, 14]
    assert len({series.name for series in volumes}) == 3
    assert all(len({plane.path.parent for plane in series.planes}) == 1 for series in volumes)


def test_magnitude_and_phase_sizes_and_orientations_of_one_series_are_volumes_of_their_own(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "m", ImageType=["ORIGINAL", "PRIMARY", "M"], **ONE_SERIES)
    write_series(tmp_path / "p", ImageType=["ORIGINAL", "PRIMARY", "P"], **ONE_SERIES)
    write_series(tmp_path / "s", shape=(10, 32, 32), **ONE_SERIES)
    write_series(tmp_path / "c", orientation="coronal", **ONE_SERIES)

    found = find(tmp_path)

    assert sorted(len(series.planes) for series in found.volumes) == [10, 14, 14, 14]
    assert not found.refused
    assert len({series.name for series in found.volumes}) == 4


def test_a_localiser_beside_a_series_is_left_out_and_told(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    write_series(
        tmp_path / "b",
        orientation="coronal",
        shape=(3, 32, 32),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )

    found = find(tmp_path)

    assert len(found.volumes) == 1
    assert [one.kind for one in found.refused] == ["localiser"]
    assert open_series(tmp_path, salt=SALT) == found.volumes[0]


def test_without_a_frame_of_reference_a_series_is_taken_only_if_that_is_allowed(tmp_path: Path) -> None:
    write_series(tmp_path, FrameOfReferenceUID=None)

    (series,) = find(tmp_path, allow_no_frame=True).volumes

    assert series.frame_of_reference_uid == ""
    assert refused_kinds(tmp_path) == ["no frame of reference"]


def test_names_are_the_same_again_and_others_by_another_salt(tmp_path: Path) -> None:
    write_series(tmp_path)

    first, again, other = (find_series([tmp_path], salt=salt).volumes[0].name for salt in (b"a", b"a", b"b"))

    assert first == again != other
    assert first.startswith("scan_")


def test_files_that_are_no_dicom_are_left_alone(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "readme.txt").write_text("a" * 1000)
    (tmp_path / "empty").touch()
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 100)
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "IM0001.dcm").read_bytes()[:300])

    found = find(tmp_path)

    assert len(found.volumes) == 1
    assert all("readme" not in note and "cut" not in note for note in found.notes)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write_series(tmp_path / "secret")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "folder").symlink_to(tmp_path / "secret")
    for path in (tmp_path / "secret").iterdir():
        (tmp_path / "given" / path.name).symlink_to(path)

    assert find(tmp_path / "given") == FoundSeries((), ())


HOSTILE: dict[str, dict[str, Any]] = {
    "a label of 64 kB": {"SeriesDescription": "x" * 65_000, "PatientID": "y" * 65_000},
    "paths as texts": {"SeriesDescription": "../../etc/passwd", "PatientID": "../../../x", "StudyID": "/"},
    "numbers that are none": {"AcquisitionNumber": None, "EchoTime": "", "SliceThickness": "0"},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_texts_change_no_volume(tmp_path: Path, what: str) -> None:
    write_series(tmp_path, **HOSTILE[what])

    found = find(tmp_path)

    assert len(found.volumes) == 1
    assert len(found.facts[found.volumes[0].name].description) <= 256


@pytest.mark.parametrize("rows", [0, 65_535])
def test_impossible_sizes_are_refused_before_memory_is_taken(tmp_path: Path, rows: int) -> None:
    for path in write_series(tmp_path):
        edit(path, Rows=rows, Columns=65_535)

    assert refused_kinds(tmp_path) == ["too large"]


def test_rows_of_a_thousand_million_are_refused(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        data = path.read_bytes()
        rows = data.index(b"\x28\x00\x10\x00US\x02\x00")
        length = (4).to_bytes(2, "little")
        path.write_bytes(
            data[:rows] + b"\x28\x00\x10\x00UL" + length + (10**9).to_bytes(4, "little") + data[rows + 10 :]
        )

    assert refused_kinds(tmp_path) == ["too large"]


def test_a_tag_that_claims_to_be_longer_than_any_header_is_not_read(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    data = paths[0].read_bytes()
    patient = data.index(b"\x10\x00\x20\x00LO")
    claim = b"\x10\x00\x20\x00UN\0\0" + (2**32 - 8).to_bytes(4, "little")
    paths[0].write_bytes(data[:patient] + claim + data[patient + 8 :])

    found = find(tmp_path)

    assert found.volumes[0].shape == (64, 48, 13)  # the first is lost, which nothing but its lack tells
    assert any("can't be read" in note for note in found.notes)


@pytest.mark.parametrize("who", PEOPLE)
def test_no_text_of_what_is_found_tells_the_patient(tmp_path: Path, who: str) -> None:
    tags = {"PatientName": "CANARYNAME^X", **PEOPLE[who], "PatientID": "CANARYID"}
    write_series(tmp_path / "CANARYPATH", SeriesDescription="CANARYTEXT", AccessionNumber="CANARYNO", **tags)
    write_series(tmp_path / "CANARYPATH" / "two", shape=(2, 8, 8), **tags)

    found = find(tmp_path)
    texts = [*found.listing(), *found.refusals(), *found.notes, repr(found)]

    uid = found.volumes[0].series_uid
    assert not [text for text in texts if "CANARY" in text or uid in text or "19700102" in text]


def test_refused_series_say_what_they_are_when_nothing_is_left(tmp_path: Path) -> None:
    write_series(tmp_path, shape=(2, 8, 8))

    with pytest.raises(UserError, match=r"refused series 1 of 1 \(MR, 2 slices of 8x8\), too few slices"):
        open_series(tmp_path, salt=SALT)


def test_a_folder_without_dicom_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match="expected the DICOM files of an MR or CT series"):
        open_series(tmp_path, salt=SALT)
