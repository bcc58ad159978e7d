"""`volseg contours` and `volseg infer --dicom-out`: from predictions to objects of the right patient."""

import json
import shutil

import numpy as np
import pytest
from pydicom import dcmread

from tests import predicted
from tests.dicom.geometry_phantom import overlapping_masks
from tests.dicom_series import example_pixels, write_series
from volseg import cli
from volseg.arguments import ContoursArguments
from volseg.data.image_identity import image_hash
from volseg.data.layouts.dicom.find import open_series
from volseg.data.layouts.dicom.pixels import read_volume
from volseg.data.layouts.dicom.structures import structure_masks
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.dicom import contours as stage
from volseg.errors import UserError
from volseg.inference.prediction_folder import read_record
from volseg.system import salt
from volseg.system.files import file_sha256

CLASSES = ["stomach", "large_bowel", "small_bowel"]
NAMES = ["Stomach", "Bowel_Large", "Bowel_Small"]
CANARY = "CANARY"
PEOPLE = {
    "PatientName": "CANARY^Jane",
    "PatientID": "CANARY-0815",
    "AccessionNumber": "CANARY-ACC",
    "StudyDescription": "CANARY study",
    "SeriesDescription": "../CANARY",
    "PatientBirthDate": "19010203",
}


@pytest.fixture(autouse=True)
def own_salt(tmp_path_factory, monkeypatch):
    """A salt of the tests' own, not this user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("home")))
    salt.user_salt.cache_clear()
    yield
    salt.user_salt.cache_clear()


@pytest.fixture
def dicom(tmp_path):
    """A folder of DICOM, its path full of canaries."""
    folder = tmp_path / f"{CANARY}_Jane/series"
    write_series(folder, orientation="oblique", **PEOPLE)
    return folder


@pytest.fixture
def predictions(dicom, tmp_path):
    """A folder of predictions with the scan of that series."""
    return write_predictions(tmp_path / "predictions", open_series(dicom))


def write_predictions(folder, series, *, name="", masks=None, **told):
    """Predictions as `volseg infer` writes them, here of three overlapping masks."""
    name = name or series.name
    masks = overlapping_masks() if masks is None else masks
    for organ, mask in zip(CLASSES, masks, strict=True):
        write_volume(series.volume_of_planes(mask.astype(np.uint8)), folder / name / f"{organ}.nii.gz")
        level = series.volume_of_planes((mask * 200).astype(np.uint8))
        write_volume(level, folder / name / f"{organ}_probability.nii.gz", slope=1 / 255)
    files = {path.name: file_sha256(path) for path in (folder / name).iterdir()}
    told = {"weights": "0123456789abcdef", "image_hash": image_hash([read_volume(series)]), **told}
    predicted.record(folder, name, **{"classes": CLASSES, "files": files, **told})
    return folder


def own_masks(path, series):
    """The masks of an RTSTRUCT (planes, rows, columns) by name."""
    return {name: series.planes_of_volume(mask) for name, mask in structure_masks(path, series).masks.items()}


def test_both_objects_are_written_of_the_series_that_was_predicted(predictions, dicom, tmp_path, capsys):
    out = tmp_path / "out"

    code = cli.run_command(["contours", str(predictions), str(dicom), "--out", str(out)])

    series = open_series(dicom)
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f"{series.name}_rtstruct.dcm",
        f"{series.name}_seg.dcm",
    ]
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    assert out.stat().st_mode & 0o777 == 0o700
    again = own_masks(out / f"{series.name}_rtstruct.dcm", series)
    assert list(again) == NAMES
    assert all((again[name] == mask).all() for name, mask in zip(NAMES, overlapping_masks(), strict=True))
    assert dcmread(out / f"{series.name}_rtstruct.dcm").PatientName == "CANARY^Jane"
    assert "2 files of DICOM, not reviewed by anyone" in capsys.readouterr().out


def test_no_message_and_no_file_name_names_the_patient(predictions, dicom, tmp_path, capsys):
    out = tmp_path / "out"
    cli.run_command(["contours", str(predictions), str(dicom), "--out", str(out)])
    shutil.rmtree(dicom)
    cli.run_command(["contours", str(predictions), str(dicom), "--out", str(out)])

    told = capsys.readouterr()
    assert CANARY not in told.out + told.err.replace(str(dicom), "")
    assert not [path for path in out.iterdir() if CANARY in path.name]


@pytest.mark.parametrize(("kind", "ending"), [("rtstruct", "_rtstruct.dcm"), ("seg", "_seg.dcm")])
def test_one_kind_alone_may_be_wanted_and_one_scan_alone(kind, ending, predictions, dicom, tmp_path):
    scan = open_series(dicom).name

    result = stage.contours(predictions / scan, [dicom], ContoursArguments(out=tmp_path / "out", kind=kind))

    assert [path.name for path in result.files] == [f"{scan}{ending}"]


def test_a_mask_that_was_corrected_by_hand_is_what_counts_and_it_says_so(predictions, dicom, tmp_path):
    series = open_series(dicom)
    corrected = overlapping_masks()[1]
    write_volume(
        series.volume_of_planes(corrected.astype(np.uint8)), predictions / series.name / "stomach.nii.gz"
    )

    result = stage.contours(predictions, [dicom], ContoursArguments(out=tmp_path / "out"))

    path = tmp_path / f"out/{series.name}_rtstruct.dcm"
    kinds = [roi.ROIGenerationAlgorithm for roi in dcmread(path).StructureSetROISequence]
    assert (own_masks(path, series)["Stomach"] == corrected).all()
    assert kinds == ["SEMIAUTOMATIC", "AUTOMATIC", "AUTOMATIC"]
    assert any("corrected by hand" in note for note in result.notes)


@pytest.mark.parametrize("change", [7, 0])
def test_masks_in_corrected_are_what_is_written_and_marked_where_they_were_changed(
    change, predictions, dicom, tmp_path
):
    series = open_series(dicom)
    predicted.correct(predictions / series.name, stomach=change)

    result = stage.contours(predictions, [dicom], ContoursArguments(out=tmp_path / "out"))

    path = tmp_path / f"out/{series.name}_rtstruct.dcm"
    kinds = [roi.ROIGenerationAlgorithm for roi in dcmread(path).StructureSetROISequence]
    drawn = own_masks(path, series)["Stomach"]
    stomach = CLASSES.index("stomach")
    assert int((drawn != overlapping_masks()[stomach]).sum()) == change
    assert kinds == ["SEMIAUTOMATIC" if change and i == stomach else "AUTOMATIC" for i in range(len(CLASSES))]
    told = "corrected in corrected/: stomach (7 voxels" if change else "looked at without a change: "
    assert result.notes[0].startswith(f"{series.name}: {told}")


def test_right_after_predicting_masks_in_corrected_are_what_is_written_too(predictions, dicom, tmp_path):
    """`infer --dicom-out` of a scan that it kept, or found predicted already."""
    series = open_series(dicom)
    predicted.correct(predictions / series.name, stomach=7)
    record = read_record(predictions / series.name)

    result = stage.contours_of_records(
        [record], predictions, {series.name: series}, ContoursArguments(out=tmp_path / "out")
    )

    drawn = own_masks(tmp_path / f"out/{series.name}_rtstruct.dcm", series)["Stomach"]
    assert int((drawn != overlapping_masks()[CLASSES.index("stomach")]).sum()) == 7
    assert any("corrected in corrected/: stomach (7 voxels" in note for note in result.notes)


def test_probabilities_go_into_the_seg_where_they_are_wanted(predictions, dicom, tmp_path):
    scan = open_series(dicom).name

    stage.contours(predictions, [dicom], ContoursArguments(out=tmp_path / "out", kind="seg", fractional=True))

    written = dcmread(tmp_path / f"out/{scan}_seg.dcm")
    assert written.SegmentationType == "FRACTIONAL"
    assert set(np.unique(written.pixel_array)) == {0, 200}


def test_probabilities_that_are_missing_are_told_with_what_writes_them(predictions, dicom, tmp_path):
    scan = open_series(dicom).name
    (predictions / scan / "stomach_probability.nii.gz").unlink()

    with pytest.raises(UserError, match="missing; --save-probabilities writes it"):
        stage.contours(predictions, [dicom], ContoursArguments(out=tmp_path / "out", fractional=True))


def test_a_mask_on_another_grid_is_refused_and_nothing_resampled(predictions, dicom, tmp_path):
    series = open_series(dicom)
    moved = series.affine.copy()
    moved[0, 3] += 1
    mask = np.ones(series.shape, np.uint8)
    write_volume(Volume(mask, moved), predictions / series.name / "stomach.nii.gz")

    with pytest.raises(UserError, match="stomach: lies on another grid"):
        stage.contours(predictions, [dicom], ContoursArguments(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_scan_that_was_predicted_from_a_file_finds_its_series_by_its_image(dicom, tmp_path):
    """Two series on one grid: the values of the image tell which."""
    series = open_series(dicom)
    write_series(tmp_path / "twin", orientation="oblique", pixels=example_pixels((14, 48, 64)) + np.int16(1))
    predictions = write_predictions(tmp_path / "predictions", series, name="from_a_file")

    result = stage.contours(predictions, [dicom, tmp_path / "twin"], ContoursArguments(out=tmp_path / "out"))

    assert [path.name for path in result.files] == ["from_a_file_rtstruct.dcm", "from_a_file_seg.dcm"]
    assert all(dcmread(path).StudyInstanceUID == series.study_uid for path in result.files)


@pytest.mark.parametrize("series", ["twin", "shorter"])
def test_a_scan_without_its_series_has_no_objects(series, dicom, tmp_path):
    """Another patient's series, on the same grid or on another one."""
    predictions = write_predictions(tmp_path / "predictions", open_series(dicom), name="from_a_file")
    shape = (14, 48, 64) if series == "twin" else (13, 48, 64)
    write_series(tmp_path / series, orientation="oblique", pixels=example_pixels(shape) + np.int16(1))

    with pytest.raises(
        UserError, match=r"from_a_file: (no series on its grid has the image|is on the grid of none)"
    ):
        stage.contours(predictions, [tmp_path / series], ContoursArguments(out=tmp_path / "out"))


def test_a_scan_that_fails_leaves_the_others_alone(predictions, dicom, tmp_path, capsys):
    predicted.record(predictions, "broken", status="failed", reason="no voxels", classes=CLASSES)

    code = cli.run_command(["contours", str(predictions), str(dicom), "--out", str(tmp_path / "out")])

    assert code == 3
    assert "failed: broken: no voxels" in capsys.readouterr().err
    assert len([*(tmp_path / "out").iterdir()]) == 2


def test_objects_of_an_earlier_time_do_not_outlive_empty_masks(predictions, dicom, tmp_path):
    options = ContoursArguments(out=tmp_path / "out")
    stage.contours(predictions, [dicom], options)
    shutil.rmtree(predictions)
    write_predictions(predictions, open_series(dicom), masks=[mask & False for mask in overlapping_masks()])

    result = stage.contours(predictions, [dicom], options)

    assert result.files == ()
    assert [*(tmp_path / "out").iterdir()] == []
    assert "nothing is left to write" in result.notes[-1]


def test_a_clinic_has_its_own_names(predictions, dicom, tmp_path):
    organs = tmp_path / "organs.yaml"
    organs.write_text("stomach: {name: Magen}\n")
    options = ContoursArguments(out=tmp_path / "out", kind="rtstruct", organs=organs)

    (path,) = stage.contours(predictions, [dicom], options).files

    assert [roi.ROIName for roi in dcmread(path).StructureSetROISequence] == ["Magen", *NAMES[1:]]


def test_a_folder_without_a_volume_tells_why(predictions, tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(UserError, match="holds no volume"):
        stage.contours(predictions, [tmp_path / "empty"], ContoursArguments(out=tmp_path / "out"))


def test_a_folder_that_is_not_there_is_told_as_such(predictions, tmp_path):
    with pytest.raises(UserError, match="no such file or folder of DICOM"):
        stage.contours(predictions, [tmp_path / "nowhere"], ContoursArguments(out=tmp_path / "out"))


def test_the_folder_of_dicom_must_be_named(predictions, capsys):
    assert cli.run_command(["contours", str(predictions)]) == 1
    assert "name the folder of DICOM" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--all"], "which --input names"),
        (["--input", "folder", "--allow-no-frame"], "needs a frame of reference"),
    ],
)
def test_infer_refuses_dicom_out_where_nothing_could_come_of_it(words, told, capsys, tmp_path):
    assert cli.run_command(["infer", *words, "--dicom-out", str(tmp_path / "out")]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("command", ["infer", "contours"])
def test_a_folder_that_cant_be_written_is_told_before_any_work(command, predictions, dicom, tmp_path, capsys):
    words = {
        "infer": ["infer", "--run", str(tmp_path / "no run"), "--input", str(dicom), "--dicom-out"],
        "contours": ["contours", str(predictions), str(dicom), "--out"],
    }

    assert cli.run_command([*words[command], "/proc/nope"]) == 1
    assert "volseg: /proc/nope: can't be written: " in capsys.readouterr().err


def test_where_the_seg_cant_be_made_no_rtstruct_is_left(predictions, dicom, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise UserError("no SEG")

    monkeypatch.setattr(stage, "make_segmentation", refuse)
    with pytest.raises(UserError, match="no SEG"):
        stage.contours(predictions, [dicom], ContoursArguments(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_infer_writes_the_objects_of_what_it_predicted(trained, dicom, tmp_path, capsys):
    words = ["--input", str(dicom), "--out", str(tmp_path / "masks"), "--dicom-out", str(tmp_path / "out")]

    code = cli.run_command(["infer", "--run", str(trained), "--engine", "torch", *words])

    told = capsys.readouterr()
    (record,) = (tmp_path / "masks").glob("*/record.json")
    name = json.loads(record.read_text())["scan"]
    assert code == 0, told.err
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {f"{name}_rtstruct.dcm", f"{name}_seg.dcm"}
    assert "files of DICOM, not reviewed" in told.out
    assert CANARY not in told.out + told.err
