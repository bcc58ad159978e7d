import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from tests.dicom_series import PEOPLE, write_series
from volseg.arguments import PrepareArguments
from volseg.data import volume_files
from volseg.data.dataset import Dataset as PreparedDataset
from volseg.data.layouts import Dicom
from volseg.errors import UserError
from volseg.preparation.prepare import PreparationResult, prepare
from volseg.system import salt as salt_file

ROWS, COLUMNS = slice(10, 20), slice(12, 30)


@pytest.fixture(autouse=True)
def own_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    salt_file.user_salt.cache_clear()


def item(**values: Any) -> Dataset:
    dataset = Dataset()
    for key, value in values.items():
        setattr(dataset, key, value)
    return dataset


def write_structures(path: Path, images: Sequence[Path], names: Sequence[str], **tags: Any) -> None:
    """An RTSTRUCT with a box on the planes 3 to 6 for each name; a name with `!` has no contours."""
    source = dcmread(images[0], stop_before_pixels=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for key in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate"):
        setattr(dataset, key, source.get(key))
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    frame = source.FrameOfReferenceUID
    series = item(SeriesInstanceUID=tags.get("series", source.SeriesInstanceUID))
    study = item(ReferencedSOPInstanceUID=source.StudyInstanceUID, RTReferencedSeriesSequence=[series])
    dataset.ReferencedFrameOfReferenceSequence = [
        item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])
    ]
    dataset.StructureSetROISequence = [
        item(ROINumber=number, ROIName=name.strip("!"), ReferencedFrameOfReferenceUID=frame)
        for number, name in enumerate(names, 1)
    ]
    dataset.ROIContourSequence = [
        item(ReferencedROINumber=number, ContourSequence=[_box(dcmread(one)) for one in images[3:7]])
        if "!" not in name
        else item(ReferencedROINumber=number)
        for number, name in enumerate(names, 1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def _box(image: Dataset) -> Dataset:
    """The contour on the edges of the voxels in ROWS and COLUMNS of an axial image."""
    x, y, z = (float(one) for one in image.ImagePositionPatient)
    down, along = (float(one) for one in image.PixelSpacing)
    left, right = x + along * (COLUMNS.start - 0.5), x + along * (COLUMNS.stop - 0.5)
    top, bottom = y + down * (ROWS.start - 0.5), y + down * (ROWS.stop - 0.5)
    corners = [(left, top, z), (right, top, z), (right, bottom, z), (left, bottom, z)]
    return item(
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=4,
        ContourData=[f"{one:.4f}" for corner in corners for one in corner],
    )


def prepared(source: Path, out: Path, **options: Any) -> tuple[PreparationResult, PreparedDataset]:
    result = prepare(source, options=PrepareArguments(layout="dicom", out=out, workers=1, **options))
    return result, PreparedDataset.load(out)


def test_structures_become_the_labels_of_the_series_they_were_drawn_on(tmp_path: Path) -> None:
    images = write_series(tmp_path / "in" / "mr")
    write_structures(tmp_path / "in" / "rt" / "RS.dcm", images, ["Stomach", "Bowel Small"])

    _, dataset = prepared(tmp_path / "in", tmp_path / "out")

    (sample,) = dataset.samples
    assert dataset.classes == ("Stomach", "Bowel_Small")
    assert dataset.facts.channels == ("mr",)
    assert sample.part == "train"
    mask = dataset.label(sample, "Stomach")
    planes = np.zeros((14, 48, 64), bool)
    planes[3:7, ROWS, COLUMNS] = True
    assert np.array_equal(mask, planes.transpose(2, 1, 0)[:, ::-1])


def test_a_series_without_structures_is_a_test_scan_without_labels(tmp_path: Path) -> None:
    images = write_series(tmp_path / "in" / "a", PatientID="A")
    write_series(tmp_path / "in" / "b", PatientID="B")
    write_structures(tmp_path / "in" / "RS.dcm", images, ["Stomach"])

    _, dataset = prepared(tmp_path / "in", tmp_path / "out")

    assert sorted((sample.part, sample.labels is None) for sample in dataset.samples) == [
        ("test", True), ("train", False),
    ]  # fmt: skip


def test_classes_are_those_that_all_have_and_others_are_picked(tmp_path: Path) -> None:
    for number, names in enumerate((["Stomach", "GTV"], ["Stomach"])):
        images = write_series(tmp_path / "in" / str(number), PatientID=str(number))
        write_structures(tmp_path / "in" / f"RS{number}.dcm", images, names)

    result, dataset = prepared(tmp_path / "in", tmp_path / "out")
    picked, with_gtv = prepared(tmp_path / "in", tmp_path / "picked", classes=("stomach", "gtv"))

    assert dataset.classes == ("Stomach",)
    assert any("GTV (1)" in note for note in result.notes)
    assert with_gtv.classes == ("stomach", "gtv")
    assert sorted(sample.labels is None for sample in with_gtv.samples) == [False, True]
    (warning,) = (one for one in picked.findings if one.kind == "structures")
    assert "no structure gtv" in warning.message


def test_a_structure_without_contours_says_that_the_organ_is_absent(tmp_path: Path) -> None:
    images = write_series(tmp_path / "in" / "a")
    write_structures(tmp_path / "in" / "RS.dcm", images, ["Stomach", "Liver!"])

    _, dataset = prepared(tmp_path / "in", tmp_path / "out")

    assert not dataset.label(dataset.samples[0], "Liver").any()


@pytest.mark.parametrize(
    "other", [{"PatientID": "OTHER"}, {"StudyInstanceUID": "1.2.3.4.5"}], ids=["patient", "study"]
)
@pytest.mark.parametrize("by_frame", [False, True])
def test_a_structure_set_of_another_patient_or_study_is_no_label(
    tmp_path: Path, other: dict[str, str], by_frame: bool
) -> None:
    images = write_series(tmp_path / "images")
    write_structures(tmp_path / "rs.dcm", images, ["liver"])
    dataset = dcmread(tmp_path / "rs.dcm")
    for key, value in other.items():
        setattr(dataset, key, value)
    if by_frame:
        dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence = []
    dataset.save_as(tmp_path / "rs.dcm")

    read = Dicom(classes=("liver",)).scans(tmp_path)

    (scan,) = read.scans
    assert scan.part == "test"
    assert scan.labels(("liver",), None) is None
    assert "1 RTSTRUCT that refer to it left out: of another patient or study" in scan.remarks()[0].message
    assert "OTHER" not in str(read)


def test_the_same_structure_set_twice_is_taken_once(tmp_path: Path) -> None:
    images = write_series(tmp_path / "images")
    write_structures(tmp_path / "rs.dcm", images, ["liver"])
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "rs.dcm").read_bytes())

    read = Dicom().scans(tmp_path)

    assert read.classes == ("liver",)
    assert [scan.part for scan in read.scans] == ["train"]
    assert any("an RTSTRUCT that is there twice" in finding.message for finding in read.findings)


def test_two_structure_sets_with_one_name_are_no_labels(tmp_path: Path) -> None:
    images = write_series(tmp_path / "in" / "a")
    for name in ("one", "two"):
        write_structures(tmp_path / "in" / f"{name}.dcm", images, ["Stomach"])

    result, dataset = prepared(tmp_path / "in", tmp_path / "out")

    assert dataset.samples[0].labels is None
    assert any("several structures" in one.message for one in result.findings)


def test_cases_are_patients_and_days_count_from_their_first_study(tmp_path: Path) -> None:
    for patient, day in (("A", "20240103"), ("A", "20240110"), ("B", "20230101")):
        write_series(tmp_path / "in" / patient / day, PatientID=patient, StudyDate=day)

    _, dataset = prepared(tmp_path / "in", tmp_path / "out")

    days: dict[str, list[int]] = {}
    for sample in dataset.samples:
        days.setdefault(sample.case, []).append(sample.day)
        assert sample.name == f"{sample.case}_day{sample.day}"
    assert sorted(days.values()) == [[0], [0, 7]]


def test_series_of_one_day_have_names_of_their_own(tmp_path: Path) -> None:
    shared = {"StudyInstanceUID": "1.2", "PatientID": "A"}
    for echo in ("10", "80"):
        write_series(tmp_path / "in" / echo, EchoTime=echo, **shared)

    _, dataset = prepared(tmp_path / "in", tmp_path / "out")

    assert len({sample.name for sample in dataset.samples}) == 2
    assert len({sample.case for sample in dataset.samples}) == 1


def test_refused_series_are_left_out_by_their_reason_and_localisers_are_noted(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "a")
    write_series(tmp_path / "in" / "b")[5].unlink()
    write_series(tmp_path / "in" / "c", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])

    result, dataset = prepared(tmp_path / "in", tmp_path / "out")

    assert len(dataset.samples) == 1
    (error,) = (one for one in result.findings if one.severity == "error")
    assert "missing slice" in error.message
    assert "1 series left out: localiser" in result.notes


def test_mr_and_ct_are_not_one_dataset(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "a")
    write_series(tmp_path / "in" / "b", modality="CT")

    with pytest.raises(UserError, match="1 of CT and 1 of MR"):
        prepared(tmp_path / "in", tmp_path / "out")


def test_prepared_scans_are_not_done_again_until_their_files_change(tmp_path: Path) -> None:
    images = write_series(tmp_path / "in" / "a")
    write_structures(tmp_path / "in" / "RS.dcm", images, ["Stomach"])

    first, _ = prepared(tmp_path / "in", tmp_path / "out")
    again, _ = prepared(tmp_path / "in", tmp_path / "out")
    write_structures(tmp_path / "in" / "RS.dcm", images, ["Stomach", "Liver"])
    changed, _ = prepared(tmp_path / "in", tmp_path / "out")

    assert (len(first.unchanged), len(again.unchanged), len(changed.unchanged)) == (0, 1, 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_written_is_the_users_alone_and_tells_no_patient(
    tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    tags = {
        "PatientID": "CANARYID",
        "PatientBirthDate": "19450607",
        "AccessionNumber": "CANARYNO",
        "SeriesDescription": "CANARYTEXT",
        "ReferringPhysicianName": "CANARYDOCTOR",
    }
    folder = tmp_path / "CANARYFOLDER"
    people = [
        ("a", {**PEOPLE["japanese"]}),
        ("b", {"PatientName": "CANARYNAME", "SpecificCharacterSet": "BAD"}),
    ]
    for name, person in people:
        images = write_series(folder / f"CANARY{name}", **{**tags, **person, "StudyDate": "20240105"})
        write_structures(folder / f"RS{name}.dcm", images, ["Stomach"])
    options = PrepareArguments(layout="dicom", out=tmp_path / "out", workers=workers)

    result = prepare(folder, options=options)

    uids = {str(dcmread(path).SeriesInstanceUID) for path in folder.rglob("IM0001.dcm")}
    texts = [caplog.text, repr(result)]
    for path in (tmp_path / "out").rglob("*"):
        texts.append(str(path.relative_to(tmp_path)))
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
        if path.suffix == ".json":
            texts.append(path.read_text())
        if path.suffix == ".gz":
            header = volume_files.read_header(path)
            texts.append(str(header))
    told = "\n".join(texts)
    hidden = ("CANARY", "Yamada", "山田", "19450607", "20240105", "CANARY".lower(), *uids)
    assert not [word for word in hidden if word in told]


def test_the_layout_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        Dicom().scans(tmp_path / "missing")
