import logging
from pathlib import Path

import pytest

from tests import tiny
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.inference.out_of_fold import OutOfFoldScans
from volseg.runs.folds import FinishedFolds, FoldOutcome
from volseg.runs.run import Run
from volseg.runs.run_files import RunSplits
from volseg.runs.trained_on import TrainedOn

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


def test_an_excluded_scan_is_left_out_and_told(run, dataset, caplog) -> None:
    flagged = tuple(one.model_copy(update={"excluded": one.name == "case1_day1"}) for one in dataset.samples)
    Dataset(dataset.folder, dataset.facts.model_copy(update={"samples": flagged})).save()

    with caplog.at_level(logging.INFO):
        found = OutOfFoldScans.of_run(str(run), dataset.folder, "tune")

    assert "case1_day1" not in [sample.name for _, sample in found.scans]
    assert "not used to tune by: excluded from the dataset: case1_day1" in caplog.text


def began_with(run: Path, *names: str) -> None:
    """Make the run one whose first weights were trained on these scans."""
    facts = Run.open(run).facts
    before = TrainedOn(fitted=tuple(map(facts.identity_of, names)))
    facts.model_copy(update={"inherited": before}).write(run)


def test_a_validation_scan_that_an_ancestor_was_trained_on_is_left_out_and_told(run, dataset, caplog) -> None:
    began_with(run, "case1_day1", *LATER)

    with caplog.at_level(logging.INFO):
        found = OutOfFoldScans.of_run(str(run), dataset.folder, "calibrate")

    assert [sample.name for _, sample in found.scans] == ["case1_day0", "case1_day2"]
    assert (
        "not used to calibrate by: trained on by the weights that training began with: case1_day1, "
        "case2_day2, case3_day2" in caplog.text
    )


def test_first_weights_of_unknown_scans_are_told(run, dataset, caplog) -> None:
    unknown = TrainedOn(unknown=("bundle/model.pt",))
    Run.open(run).facts.model_copy(update={"inherited": unknown}).write(run)

    with caplog.at_level(logging.INFO):
        OutOfFoldScans.of_run(str(run), dataset.folder, "tune")

    assert "unknown which scans its first weights saw: bundle/model.pt" in caplog.text


def test_with_none_left_it_says_why(run: Path, dataset: Dataset) -> None:
    began_with(run, *UNSEEN, *LATER)

    with pytest.raises(UserError, match=r"training did not see.*\n.*began with: case1_day0, case1_day1"):
        OutOfFoldScans.of_run(str(run), dataset.folder, "tune")


def with_images(dataset: Dataset, image: str) -> Dataset:
    samples = tuple(one.model_copy(update={"image_hash": f"{image} {one.name}"}) for one in dataset.samples)
    changed = Dataset(dataset.folder, dataset.facts.model_copy(update={"samples": samples}))
    changed.save()
    return changed


def test_a_dataset_of_the_same_names_and_other_images_is_another(run: Path, dataset: Dataset) -> None:
    facts = Run.open(run).facts
    images = {one.name: f"ours {one.name}" for one in dataset.samples}
    facts.model_copy(update={"images": images}).write(run)

    with_images(dataset, "ours")
    assert len(OutOfFoldScans.of_run(str(run), dataset.folder, "tune").scans) == 5
    with_images(dataset, "theirs")
    with pytest.raises(UserError, match=r"lacks 5 of the 5 .*names are other images there"):
        OutOfFoldScans.of_run(str(run), dataset.folder, "tune")


def test_each_scan_is_predicted_by_the_fold_that_saw_no_other_day_of_its_case(tmp_path, dataset) -> None:
    """A later day of one fold is among the unseen cases of another, which predicts it."""
    folder = tmp_path / "five"
    outcome = FoldOutcome(steps=1, best=None, seconds=1, max_seconds=None)
    for number in range(2):
        unseen = tuple(one.name for one in dataset.samples if one.case == f"case{number + 1}")
        later = (f"case{2 - number}_day2",)
        train = tuple(one.name for one in dataset.samples if one.name not in (*unseen, *later))
        facts = RunSplits(
            dataset="tiny",
            classes=tiny.CLASSES,
            exclusive=False,
            channels=("mr",),
            fold=number,
            train=train,
            unseen_cases=unseen,
            later_days=later,
        )
        Run.create(folder / f"fold{number}", tiny.config(), facts)
    FinishedFolds(finished={f"fold{number}": outcome for number in range(2)}).write(folder)

    found = OutOfFoldScans.of_run(str(folder), dataset.folder, "tune")

    assert {(run.folder.name, sample.case) for run, sample in found.scans} == {
        ("fold0", "case1"),
        ("fold1", "case2"),
    }
    assert len(found.scans) == 6
    for run, sample in found.scans:
        assert run.facts.seen_in_training(sample.identity) == "none"


def test_a_dataset_that_lacks_most_of_them_is_another(run: Path, dataset: Dataset) -> None:
    without(dataset, *UNSEEN)

    with pytest.raises(UserError, match=r"lacks 3 of the 5 validation scans of .*\(case1_day0 \.\.\.\)"):
        OutOfFoldScans.of_run(str(run), dataset.folder, "calibrate")
