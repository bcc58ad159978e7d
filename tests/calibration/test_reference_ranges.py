import pytest

from tests import tiny
from volseg.calibration.reference_ranges import class_ranges, training_label_features
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.inference.confidence.mask_features import MaskFeatures
from volseg.runs.run import Run
from volseg.runs.run_files import RunSplits


def look(volume: float, *cut: str, parts: int = 1, grey: float = 0.5) -> MaskFeatures:
    there = volume > 0
    return MaskFeatures(volume, 9.0 * there, parts * there, grey if there else None, cut)


def test_ranges_are_of_the_scans_that_have_the_organ() -> None:
    labels = {
        "case1_day0": look(10, grey=0.4),
        "case1_day1": look(30, parts=3),
        "case2_day0": look(0),
        "case3_day0": look(5, grey=0.7),
    }

    found = class_ranges(labels, 2.5, {})

    assert found.scans == 4
    assert found.volume_ml == {"case1_day0": 10, "case1_day1": 30, "case3_day0": 5}
    assert (found.most_parts, found.intensity, found.border_mm) == (3, (0.4, 0.7), 2.5)
    assert found.volumes.day_ratio == 3  # between the days of case 1; cases are not compared


def test_ends_that_a_quarter_of_the_scans_touch_are_usual() -> None:
    ends = [("first", "last"), ("last",), (), (), (), (), (), ()]
    labels = {f"case{n}_day0": look(9, *cut) for n, cut in enumerate(ends)}

    assert class_ranges(labels, None, {}).cut == ("last",)


def test_an_organ_that_no_scan_has_has_no_ranges() -> None:
    found = class_ranges({"case1_day0": look(0)}, None, {})

    assert (found.volume_ml, found.most_parts, found.intensity) == ({}, 0, None)
    assert found.volumes is None


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return tiny.write(tmp_path / "data", cases=2, days=2)


def run_of(dataset: Dataset, *train: str) -> Run:
    facts = RunSplits(
        dataset="tiny", classes=tiny.CLASSES, exclusive=False, channels=("mr",), fold=0, train=train
    )
    return Run(dataset.folder, tiny.config(), facts)


def test_labels_are_those_of_all_scans_that_any_run_was_trained_on(dataset: Dataset) -> None:
    runs = run_of(dataset, "case1_day0"), run_of(dataset, "case1_day0", "case2_day1")

    found = training_label_features(runs, dataset)

    assert set(found) == set(tiny.CLASSES)
    assert list(found["stomach"]) == ["case1_day0", "case2_day1"]
    dark, bright = (found[name]["case2_day1"].intensity or 0 for name in ("stomach", "large_bowel"))
    assert dark < 0.2
    assert bright > 0.8


def test_a_damaged_label_is_named(dataset: Dataset) -> None:
    (dataset.folder / "labels/case1_day0/stomach.nii.gz").write_bytes(b"junk")

    with pytest.raises(UserError, match=r"stomach\.nii\.gz"):
        training_label_features([run_of(dataset, "case1_day0")], dataset)
