import logging
from pathlib import Path

import pytest

from tests import tiny
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.inference.out_of_fold import OutOfFoldScans
from volseg.runs.run import Run
from volseg.runs.run_files import RunSplits

UNSEEN = ("case1_day0", "case1_day1", "case1_day2")
LATER = ("case2_day2", "case3_day2")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return tiny.write(tmp_path / "data", cases=4)


@pytest.fixture
def run(tmp_path: Path, dataset: Dataset) -> Path:
    train = tuple(one.name for one in dataset.samples if one.name not in (*UNSEEN, *LATER))
    facts = RunSplits(
        dataset="tiny",
        classes=tiny.CLASSES,
        exclusive=False,
        channels=("mr",),
        fold=0,
        train=train,
        unseen_cases=UNSEEN,
        later_days=LATER,
    )
    return Run.create(tmp_path / "run", tiny.config(), facts).folder


def without(dataset: Dataset, *names: str) -> None:
    kept = tuple(one for one in dataset.samples if one.name not in names)
    Dataset(dataset.folder, dataset.facts.model_copy(update={"samples": kept})).save()


def test_each_validation_scan_is_there_once_first_days_first(run: Path, dataset: Dataset) -> None:
    found = OutOfFoldScans.of_run(str(run), dataset.folder, "tune")

    names = [sample.name for _, sample in found.scans]
    assert names == ["case1_day0", "case2_day2", "case3_day2", "case1_day1", "case1_day2"]


def test_a_few_scans_that_left_the_dataset_are_told(run, dataset, caplog) -> None:
    without(dataset, "case1_day1", "case3_day2")

    with caplog.at_level(logging.INFO):
        found = OutOfFoldScans.of_run(str(run), dataset.folder, "tune")

    assert len(found.scans) == 3
    assert "lacks the validation scans case1_day1, case3_day2" in caplog.text


def test_a_dataset_that_lacks_most_of_them_is_another(run: Path, dataset: Dataset) -> None:
    without(dataset, *UNSEEN)

    with pytest.raises(UserError, match=r"lacks 3 of the 5 validation scans of .*\(case1_day0 \.\.\.\)"):
        OutOfFoldScans.of_run(str(run), dataset.folder, "calibrate")
