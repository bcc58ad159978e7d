"""What was corrected is told in a line: where, how much, and whether it still fits the prediction."""

from pathlib import Path

import pytest

from tests import predicted
from volseg.data.dataset import Dataset
from volseg.inference.correction_file import corrected_file
from volseg.inference.corrections import correction_notes, missing_masks_problem
from volseg.inference.prediction_folder import load_predictions

SCAN = "case1_day0"
COUNTS = "; what counts is corrected/, not the network's masks"


@pytest.fixture
def scan(data: Path, tmp_path: Path) -> Path:
    return predicted.write(tmp_path / "out", Dataset.load(data), SCAN)


def notes(scan: Path) -> list[str]:
    return list(correction_notes(load_predictions(scan.parent)))


def test_without_corrections_there_is_nothing_to_tell(scan: Path) -> None:
    assert notes(scan) == []


def test_what_was_changed_is_told_with_its_size_and_what_was_only_looked_at_too(scan: Path) -> None:
    predicted.correct(scan, stomach=12)

    assert notes(scan) == [
        f"{SCAN}: corrected in corrected/: stomach (12 voxels, 1.2 ml); looked at without a change: "
        f"large_bowel{COUNTS}"
    ]


def test_a_scan_that_was_saved_without_a_change_is_told_as_looked_at(scan: Path) -> None:
    predicted.correct(scan)

    assert notes(scan) == [f"{SCAN}: looked at without a change: large_bowel, stomach"]


def test_a_mask_that_was_changed_in_corrected_after_it_was_saved_is_told(scan: Path) -> None:
    predicted.correct(scan, stomach=12)
    corrected_file(scan, "large_bowel").write_bytes((scan / "stomach.nii.gz").read_bytes())

    assert notes(scan)[1:] == [
        f"{SCAN}: changed in corrected/ after they were saved, so correction.json tells of earlier masks: "
        "large_bowel"
    ]


def test_a_correction_of_another_prediction_is_told(scan: Path) -> None:
    predicted.correct(scan, stomach=12)
    (scan / "stomach.nii.gz").write_bytes((scan / "large_bowel.nii.gz").read_bytes())

    assert notes(scan)[1:] == [
        f"{SCAN}: corrected/ started from other masks than the predicted ones of now: stomach; what counts "
        "is corrected/; move it away to go on with the prediction"
    ]


def test_a_mask_that_was_corrected_in_place_first_and_then_aside_is_told_as_both(scan: Path) -> None:
    (scan / "stomach.nii.gz").write_bytes((scan / "large_bowel.nii.gz").read_bytes())
    predicted.correct(scan, large_bowel=12)

    told = notes(scan)

    assert "corrected in corrected/: large_bowel (12 voxels" in told[0]
    assert "corrected by hand after it was predicted, before corrected/ was saved: stomach;" in told[1]
    assert len(told) == 2


def test_of_many_corrected_scans_the_first_are_told_and_the_others_counted(data: Path, scan: Path) -> None:
    dataset = Dataset.load(data)
    for sample in dataset.samples[:12]:
        predicted.correct(predicted.write(scan.parent, dataset, sample.name), stomach=1)

    told = notes(scan)

    assert sum(": corrected in corrected/: stomach (1 voxel," in line for line in told) == 10
    assert told[10:] == ["... and 2 more scans corrected or looked at in corrected/"]


def test_a_corrected_mask_that_is_gone_is_named_with_the_way_out(scan: Path) -> None:
    predicted.correct(scan, stomach=12)
    corrected_file(scan, "stomach").unlink()

    told = missing_masks_problem(load_predictions(scan.parent)[0])

    assert told.endswith(
        "corrected/stomach.nii.gz missing; move corrected/ away to go on with what was predicted"
    )
