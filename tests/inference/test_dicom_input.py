import json
import logging
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from tests import tiny
from tests.dicom_series import PEOPLE, write_series
from volseg.arguments import InferArguments
from volseg.cli import main
from volseg.data import volume_files
from volseg.data.layouts.dicom.found_series import DicomError
from volseg.data.layouts.dicom.pixels import read_volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.inference.dicom_input import find_dicom_inputs, is_dicom_input
from volseg.inference.infer import infer
from volseg.inference.input_paths import find_input_files
from volseg.inference.predict import predict_image
from volseg.inference.scan_sources import MIXED_FOLDER, source_from_files
from volseg.system import salt as salt_file

SMALL = {"shape": (10, 16, 20), "spacing_mm": (1.5, 1.5, 3.0)}


@pytest.fixture(autouse=True)
def own_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    salt_file.user_salt.cache_clear()


def test_folders_and_files_of_dicom_are_told_from_others(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "study" / "deep", **SMALL)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("a" * 200)
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "a.nii.gz").touch()
    (tmp_path / "volumes" / "b.dcm").write_bytes(paths[0].read_bytes())

    assert is_dicom_input(tmp_path / "study")
    assert is_dicom_input(paths[0])
    assert not is_dicom_input(tmp_path / "other")
    assert not is_dicom_input(tmp_path / "volumes")
    assert not is_dicom_input(tmp_path / "missing")


def test_folders_of_an_archive_with_pictures_beside_are_dicom(tmp_path: Path) -> None:
    files = tmp_path / "session" / "scans" / "1-T1" / "resources" / "DICOM" / "files"
    write_series(files, **SMALL)
    for folder in (files, tmp_path / "session", tmp_path / "session" / "scans"):
        (folder / "CANARY^Doe.png").touch()

    assert all(map(is_dicom_input, (files, tmp_path / "session", tmp_path)))
    assert len(find_dicom_inputs([tmp_path])) == 1


def test_dicom_beside_volumes_is_told_not_to_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "CANARY"
    write_series(folder / "deep", **SMALL)
    (folder / "a.nii.gz").touch()

    found = find_input_files([folder], ["mr"])

    assert [one.name for one in found] == ["a"]
    assert "the DICOM files in it are not read" in caplog.text
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("beside", ["a.nii.gz", "slice_0001_20_16_1.50_1.50.png"])
def test_dicom_among_slices_is_a_fault_that_names_no_file(tmp_path: Path, beside: str) -> None:
    write_series(tmp_path, **SMALL)
    for name in (beside, "CANARY^Doe.png"):
        (tmp_path / name).touch()
    assert not is_dicom_input(tmp_path)

    (files,) = find_input_files([tmp_path], ["mr"])
    source = source_from_files(files, slice_mm=3.0)

    assert source.problem == MIXED_FOLDER


def test_each_folder_gives_its_one_volume(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        write_series(folder, PatientID="one", **SMALL)

    inputs = find_dicom_inputs(folders)

    assert len({one.series.name for one in inputs}) == 2
    assert len({one.case for one in inputs}) == 1


def test_files_are_one_folder_together(tmp_path: Path) -> None:
    paths = write_series(tmp_path, **SMALL)

    (one,) = find_dicom_inputs(paths)

    assert len(one.series.planes) == 10


def test_of_several_volumes_some_or_all_are_picked(tmp_path: Path) -> None:
    for echo in ("10", "20", "30"):
        write_series(tmp_path / echo, EchoTime=echo, StudyInstanceUID="1.2", **SMALL)

    every = find_dicom_inputs([tmp_path], ["all"])
    two = find_dicom_inputs([tmp_path], ["3", every[0].series.name])

    assert len(every) == 3
    assert [one.series for one in two] == [every[2].series, every[0].series]
    with pytest.raises(DicomError, match="3 volumes; pick by --series NUMBER or NAME"):
        find_dicom_inputs([tmp_path])


def test_numbers_count_in_one_folder_and_names_in_all(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_series(tmp_path / name, **SMALL)
    folders = [tmp_path / "a", tmp_path / "b"]
    second = find_dicom_inputs(folders)[1].series

    with pytest.raises(UserError, match="a number counts in one folder"):
        find_dicom_inputs(folders, ["1"])
    assert [one.series for one in find_dicom_inputs(folders, [second.name])] == [second]


def test_all_folders_without_a_volume_are_told_at_once(tmp_path: Path) -> None:
    write_series(tmp_path / "a", **SMALL)[4].unlink()
    write_series(tmp_path / "b", **{**SMALL, "shape": (2, 8, 8)})

    with pytest.raises(DicomError) as raised:
        find_dicom_inputs([tmp_path / "a", tmp_path / "b"])

    first, second = str(raised.value).splitlines()
    assert "folder 1 of 2" in first
    assert "missing slice" in first
    assert "folder 2 of 2" in second
    assert "too few slices" in second


def test_what_is_refused_beside_a_volume_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_series(tmp_path / "a", **SMALL)
    write_series(tmp_path / "CANARY", **SMALL)[4].unlink()

    with caplog.at_level(logging.WARNING):
        find_dicom_inputs([tmp_path])

    assert "missing slice" in caplog.text
    assert "CANARY" not in caplog.text


def test_pydicom_is_not_loaded_for_inputs_that_are_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    script = (
        "import sys; from pathlib import Path; import volseg.inference.infer; "
        "from volseg.inference.dicom_input import is_dicom_input; "
        f"assert not is_dicom_input(Path({str(tmp_path / 'volumes')!r})); "
        "assert 'pydicom' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", script], check=True)


def test_series_is_an_option_of_dicom_alone(tmp_path: Path, trained: Path) -> None:
    (tmp_path / "a.nii.gz").touch()

    with pytest.raises(UserError, match="--series: is of folders of DICOM"):
        infer(InferArguments(run=(str(trained),), input=(tmp_path / "a.nii.gz",), series=("1",)))


@pytest.fixture
def wanted(trained: Path, tmp_path: Path) -> InferArguments:
    return InferArguments(run=(str(trained),), input=(tmp_path / "in",), out=tmp_path / "out", engine="torch")


@pytest.mark.slow
@pytest.mark.parametrize("orientation", ["axial", "oblique", "sagittal"])
def test_masks_lie_on_the_grid_of_the_series(
    tmp_path: Path, wanted: InferArguments, orientation: str
) -> None:
    write_series(tmp_path / "in", orientation=orientation, **SMALL)

    done = infer(wanted)

    ((name, series),) = done.series.items()
    assert done.records[0].scan == name
    assert done.records[0].status == "done"
    for organ in tiny.CLASSES:
        mask = volume_files.read(wanted.out / name / f"{organ}.nii.gz")
        assert mask.voxels.shape == series.shape
        assert np.allclose(mask.affine, series.affine, atol=1e-4)
        assert series.planes_of_volume(mask) is not None


@pytest.mark.slow
def test_a_series_is_predicted_as_the_volume_that_dcm2niix_would_make(
    tmp_path: Path, wanted: InferArguments, trained: Path
) -> None:
    write_series(tmp_path / "in", **SMALL)
    done = infer(wanted)
    (series,) = done.series.values()
    file = tmp_path / "volume.nii.gz"
    write_volume(read_volume(series), file)

    infer(InferArguments(**{**vars(wanted), "input": (file,)}))
    run = shutil.copytree(trained, tmp_path / "run")  # that another engine may convert

    by_volume = predict_image(file, [run])
    by_folder = predict_image(tmp_path / "in", [run])

    for organ in tiny.CLASSES:
        masks = [volume_files.read(wanted.out / name / f"{organ}.nii.gz") for name in (series.name, "volume")]
        assert np.array_equal(masks[0].voxels, masks[1].voxels)
        assert np.array_equal(by_volume.masks[organ], by_folder.masks[organ])


@pytest.mark.slow
def test_the_same_series_is_not_predicted_again_wherever_its_files_lie(
    tmp_path: Path, wanted: InferArguments, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path / "in", **SMALL)
    first = infer(wanted)
    (tmp_path / "in").rename(tmp_path / "moved")
    with caplog.at_level(logging.INFO):
        again = infer(InferArguments(**{**vars(wanted), "input": (tmp_path / "moved",)}))

    assert again.records == first.records
    assert "unchanged, not done again" in caplog.text


@pytest.mark.slow
def test_nothing_is_written_for_a_series_that_is_refused(tmp_path: Path, wanted: InferArguments) -> None:
    write_series(tmp_path / "in", **SMALL)[4].unlink()

    with pytest.raises(DicomError, match="missing slice"):
        infer(wanted)

    assert not wanted.out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("who", [*PEOPLE, "bad charset"])
def test_nothing_that_is_written_or_said_tells_the_patient(
    tmp_path: Path,
    wanted: InferArguments,
    who: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    tags = {
        "PatientName": "CANARYNAME^X",
        **(PEOPLE.get(who) or {"SpecificCharacterSet": "CANARYCHARSET"}),
        "PatientID": "CANARYID",
        "PatientBirthDate": "19450607",
        "StudyDate": "20240105",
        "AccessionNumber": "CANARYNO",
        "StudyID": "CANARYSTUDY",
        "SeriesDescription": "CANARYTEXT",
        "StudyDescription": "CANARYSTUDYTEXT",
        "ReferringPhysicianName": "CANARYDOCTOR",
        "InstitutionName": "CANARYPLACE",
        "ProtocolName": "CANARYPROTOCOL",
    }
    folder = tmp_path / "CANARYFOLDER"
    paths = write_series(folder / "good", **SMALL, **tags)
    write_series(folder / "bad", **SMALL, **tags)[4].unlink()
    for number, path in enumerate(paths):
        dataset = dcmread(path)
        dataset.private_block(0x0011, "CANARYCREATOR", create=True).add_new(1, "LO", "CANARYPRIVATE")
        dataset.save_as(path.with_name(f"CANARY_{number}.dcm"))
        path.unlink()
    uids = {
        str(dcmread(next((folder / "good").iterdir())).get(key))
        for key in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")
    }
    command = ["infer", "--run", wanted.run[0], "--out", str(wanted.out), "--engine", "torch", "--timing"]

    caplog.clear()  # of what pydicom said of the files that this test has written
    capfd.readouterr()

    with pytest.raises(SystemExit) as ended:
        main([*command, "--input", str(folder)])

    assert ended.value.code == 0
    said = capfd.readouterr()
    texts = [said.out.replace(str(tmp_path), ""), said.err.replace(str(wanted.out), ""), caplog.text]
    for path in [wanted.out, *wanted.out.rglob("*")]:
        texts.append(path.name)
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        if path.suffix == ".json":
            texts.append(path.read_text())
        if path.suffix == ".gz":
            header = nibabel.load(path).header
            texts.append(str(header))
            assert not header["descrip"].item().strip(b"\0 ")
    told = "\n".join(texts)
    hidden = ("CANARY", "canary", "Yamada", "山田", "Müller", "Łukasz", "19450607", "20240105", *uids)
    assert not [word for word in hidden if word in told]
    record = json.loads(next(wanted.out.glob("*/record.json")).read_text())
    assert record["source"] == [f"dicom:{record['scan']}"]
    assert record["case"].startswith("case_")


@pytest.mark.slow
def test_a_series_that_cannot_be_decoded_fails_alone(tmp_path: Path, wanted: InferArguments) -> None:
    write_series(tmp_path / "in", **SMALL)
    damaged = write_series(tmp_path / "other", **SMALL)
    damaged[3].write_bytes(damaged[3].read_bytes()[:-100])
    folders = (tmp_path / "in", tmp_path / "other")

    done = infer(InferArguments(**{**vars(wanted), "input": folders}))

    assert [record.status for record in done.records] == ["done", "failed"]
    assert "plane 4: is damaged" in done.failed_records[0].reason
