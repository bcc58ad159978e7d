"""`corrected/` is read as it was saved, or it is said what is wrong with it."""

import json
from pathlib import Path

import pytest

from tests import predicted
from tests.tiny import CLASSES
from volseg.data.dataset import Dataset
from volseg.data.mask_files import MaskReader
from volseg.data.volume_files import read
from volseg.errors import UserError
from volseg.inference.correction_file import ClassCorrection, Correction, corrected_file, read_correction
from volseg.inference.prediction_folder import load_predictions

SCAN = "case1_day0"


@pytest.fixture
def scan(data: Path, tmp_path: Path) -> Path:
    return predicted.write(tmp_path / "out", Dataset.load(data), SCAN)


def test_what_was_written_is_read_again(scan: Path) -> None:
    assert read_correction(scan) is None

    written = predicted.correct(scan, stomach=5)

    assert read_correction(scan) == written
    assert written.changed_classes == ("stomach",)


def test_what_differs_is_the_sum_of_what_was_put_in_and_taken_out() -> None:
    one = ClassCorrection(base="", file="", added_voxels=3, removed_voxels=4, added_ml=0.5, removed_ml=0.25)

    assert (one.changed_voxels, one.changed_ml) == (7, 0.75)


def test_the_corrected_masks_count_of_every_class_and_the_predicted_ones_stay(scan: Path) -> None:
    before = {path.name: path.read_bytes() for path in scan.iterdir()}
    predicted.correct(scan, stomach=-4)

    prediction = load_predictions(scan.parent)[0]

    assert [prediction.mask_file(name).path for name in CLASSES] == [
        corrected_file(scan, name) for name in CLASSES
    ]
    assert {name: (scan / name).read_bytes() for name in before} == before
    grid = read(scan / "stomach.nii.gz")
    counts = [
        int(MaskReader(grid).read(file).sum())
        for file in (prediction.predicted_file("stomach"), prediction.mask_file("stomach"))
    ]
    assert counts[0] - counts[1] == 4


def test_edited_are_the_classes_that_were_changed_aside_or_in_place_or_in_the_corrected_files(
    scan: Path,
) -> None:
    predicted.correct(scan, stomach=5)
    assert load_predictions(scan.parent)[0].edited_classes == ("stomach",)

    changed = corrected_file(scan, "large_bowel")
    changed.write_bytes(corrected_file(scan, "stomach").read_bytes())
    assert load_predictions(scan.parent)[0].edited_classes == CLASSES

    predicted.correct(scan)
    assert load_predictions(scan.parent)[0].edited_classes == ()

    (scan / "stomach.nii.gz").write_bytes((scan / "large_bowel.nii.gz").read_bytes())
    assert load_predictions(scan.parent)[0].edited_classes == ("stomach",)


def test_a_correction_knows_which_files_are_no_longer_those_it_tells_of(scan: Path) -> None:
    correction = predicted.correct(scan, stomach=5)
    assert (correction.changed_later(scan), correction.outdated(scan)) == ((), ())

    corrected_file(scan, "stomach").write_bytes((scan / "stomach.nii.gz").read_bytes())
    (scan / "large_bowel.nii.gz").write_bytes((scan / "stomach.nii.gz").read_bytes())

    assert correction.changed_later(scan) == ("stomach",)
    assert correction.outdated(scan) == ("large_bowel",)


def test_keys_of_later_versions_are_ignored_and_wrong_values_named(scan: Path) -> None:
    written = predicted.correct(scan)
    path = scan / "corrected" / "correction.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "mood": "good"}))
    assert read_correction(scan) == written

    path.write_text(json.dumps({**told, "seconds": -1}))

    with pytest.raises(UserError, match=r"correction\.json: seconds: .*greater than or equal to 0"):
        read_correction(scan)


def test_the_problems_of_all_scans_are_told_at_once(data: Path, scan: Path) -> None:
    other = predicted.write(scan.parent, Dataset.load(data), "case1_day1")
    for folder in (scan, other):
        predicted.correct(folder)
    (scan / "corrected" / "correction.json").unlink()
    alien = Correction(scan="case9_day9", classes={})
    (other / "corrected" / "correction.json").write_text(alien.model_dump_json())

    with pytest.raises(UserError) as told:
        load_predictions(scan.parent)

    assert "case1_day0/corrected: masks without correction.json, so `volseg view` did not" in str(told.value)
    assert "is the correction of case9_day9; expected one of case1_day1" in str(told.value)
    assert len(load_predictions(scan.parent, check_corrections=False)) == 2


def test_unsaved_work_is_read_by_nobody(scan: Path) -> None:
    predicted.correct(scan, stomach=5)
    (scan / "corrected").rename(scan / ".unsaved")

    prediction = load_predictions(scan.parent)[0]

    assert prediction.correction is None
    assert prediction.mask_file("stomach").path == scan / "stomach.nii.gz"
    assert prediction.edited_classes == ()
