import csv
import json
import math
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests import predicted, tiny, turned
from volseg.arguments import MaskOptions
from volseg.data.dataset import Dataset, DatasetInfo
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.evaluation import bootstrap, score_files
from volseg.evaluation.evaluate import evaluate
from volseg.evaluation.scan_scores import ScanInfo
from volseg.evaluation.summary import summarise_scans
from volseg.metrics import DEFAULT, compute_metrics, kaggle_score
from volseg.metrics.mask_pair import MaskPair


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return tiny.write(tmp_path / "data", cases=2, days=2)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "predictions"


def shifted(dataset: Dataset, scan: str, **changes: bool) -> np.ndarray:
    """The truth moved by a column, (C, X, Y, Z); `empty=True` for no stomach."""
    masks = np.roll(dataset.labels(dataset.select_samples(scan)[0]), 1, axis=1)
    if changes.get("empty"):
        masks[1] = False
    return masks


def change(dataset: Dataset, scan: str, **fields: object) -> None:
    """Other facts for one scan."""
    samples = [
        sample.model_copy(update=fields) if sample.name == scan else sample for sample in dataset.samples
    ]
    facts = dataset.facts.model_copy(update={"samples": tuple(samples)})
    Dataset(dataset.folder, DatasetInfo.model_validate(facts.model_dump())).save()


def lines(folder: Path) -> dict[tuple[str, str, str], float]:
    with (folder / "scores.csv").open(newline="") as file:
        return {
            (row["scan"], row["class"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)
        }


def summary(folder: Path) -> dict:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json.loads((folder / "summary.json").read_text(), parse_constant=refuse)


def test_the_written_scores_are_those_of_the_metrics(dataset: Dataset, out: Path) -> None:
    masks = shifted(dataset, "case1_day0")
    predicted.write(out, dataset, "case1_day0", masks=masks)
    evaluate(out, dataset.folder, workers=1)

    sample = dataset.select_samples("case1_day0")[0]
    found = lines(out)
    for name, mask in zip(tiny.CLASSES, masks, strict=True):
        expected = compute_metrics(MaskPair(dataset.label(sample, name), mask, sample.spacing_mm))
        for metric, value in expected.items():
            assert found["case1_day0", name, metric] == pytest.approx(value, rel=1e-6)
    assert found["case1_day0", "stomach", "HD"] == 1.5  # one column of 1.5 mm
    assert len(found) == 2 * (len(DEFAULT) + 2)  # and two within the labelled slices


def test_the_truth_itself_is_perfect(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0")
    headline = evaluate(out, dataset.folder, workers=1).headline

    assert headline.foreground_mean["Dice"] == 1
    assert headline.foreground_mean["HD95"] == 0
    assert headline.kaggle.score == 1


def test_the_result_goes_to_out_or_beside_the_predictions(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0")
    evaluate(out, dataset.folder, workers=1)
    evaluate(out, dataset.folder, out=out / "scores")  # a second run is not misled by this folder
    evaluate(out, dataset.folder, out=out / "scores")

    assert (out / "scores.csv").read_bytes() == (out / "scores" / "scores.csv").read_bytes()
    assert (out / "summary.json").read_bytes() == (out / "scores" / "summary.json").read_bytes()


def test_the_summary_has_the_shape_of_nnunets_and_kaggles_score(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0", masks=shifted(dataset, "case1_day0"))
    predicted.write(out, dataset, "case2_day1")
    scores = evaluate(out, dataset.folder, workers=1)
    told = summary(out)

    dice = [case["metrics"]["stomach"]["Dice"] for case in told["metric_per_case"]]
    assert [case["scan"] for case in told["metric_per_case"]] == ["case1_day0", "case2_day1"]
    assert told["mean"]["stomach"]["Dice"] == pytest.approx(np.mean(dice))
    over_classes = [told["mean"][name]["Dice"] for name in tiny.CLASSES]
    assert told["foreground_mean"]["Dice"] == pytest.approx(np.mean(over_classes))
    expected = kaggle_score.score_scans(one.part for one in scores.scans)
    assert told["kaggle"]["score"] == pytest.approx(expected.score, abs=1e-6)
    assert {"dice", "hd", "hd_joint", "score"} <= set(told["kaggle"])
    assert Path(told["metric_per_case"][0]["prediction_file"]) == out / "case1_day0"


def test_a_mask_that_was_corrected_by_hand_is_scored_and_said_to_be_no_networks(
    dataset: Dataset, out: Path
) -> None:
    folder = predicted.write(out, dataset, "case1_day0", masks=shifted(dataset, "case1_day0"))
    predicted.write(out, dataset, "case1_day1")
    truth = dataset.label(dataset.select_samples("case1_day0")[0], "stomach")
    write_volume(Volume(truth.astype(np.uint8), tiny.AFFINE), folder / "stomach.nii.gz")

    scores = evaluate(out, dataset.folder)

    assert lines(out)["case1_day0", "stomach", "Dice"] == 1
    assert "case1_day0: corrected by hand after it was predicted: stomach;" in scores.notes[0]
    assert summary(out)["notes"] == list(scores.notes)
    assert len(scores.notes) == 1


def test_masks_in_corrected_are_scored_and_said_to_be_no_networks(dataset: Dataset, out: Path) -> None:
    folder = predicted.write(out, dataset, "case1_day0")
    predicted.write(out, dataset, "case1_day1")
    evaluate(out, dataset.folder)
    before = lines(out)
    predicted.correct(folder, stomach=-5)
    voxels = dataset.label(dataset.select_samples("case1_day0")[0], "stomach").sum()

    scores = evaluate(out, dataset.folder)

    after = lines(out)
    assert after["case1_day0", "stomach", "Dice"] == pytest.approx(2 * (voxels - 5) / (2 * voxels - 5))
    changed = {key[:2] for key, value in after.items() if value != before[key]}
    assert changed == {("case1_day0", "stomach")}
    assert scores.notes == (
        "case1_day0: corrected in corrected/: stomach (5 voxels, 0.5 ml); looked at without a change: "
        "large_bowel; what counts is corrected/, not the network's masks",
    )


def test_seen_scans_never_enter_the_headline_with_unseen_ones(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0", seen="scan")
    predicted.write(out, dataset, "case1_day1", seen="case", masks=shifted(dataset, "case1_day1"))
    predicted.write(out, dataset, "case2_day0", seen="none", masks=shifted(dataset, "case2_day0"))
    scores = evaluate(out, dataset.folder, workers=1)

    assert {name: group.scans for name, group in scores.groups.items()} == {
        "unseen cases": ("case2_day0",),
        "later days of seen cases": ("case1_day1",),
        "seen scans": ("case1_day0",),
    }
    assert scores.headline.scans == ("case1_day1", "case2_day0")
    assert scores.headline.foreground_mean["Dice"] < 1
    assert scores.groups["seen scans"].foreground_mean["Dice"] == 1
    assert summary(out)["groups"]["seen scans"]["foreground_mean"]["Dice"] == 1
    assert summary(out)["headline"] == "unseen scans"


def test_the_headline_is_over_seen_scans_if_there_are_no_others(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0", seen="scan")

    assert evaluate(out, dataset.folder, workers=1).headline.name == "seen scans"


def test_scans_that_chose_the_weights_are_said_to_have_done_so(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0", seen="scan", chose_weights=True)
    predicted.write(out, dataset, "case1_day1", seen="case", chose_weights=True)
    predicted.write(out, dataset, "case2_day0", chose_weights=True)
    all_chose = evaluate(out, dataset.folder, workers=1)
    predicted.write(out, dataset, "case2_day1")
    scores = evaluate(out, dataset.folder, workers=1)

    assert all_chose.headline.name == "unseen scans (they chose the weights)"
    assert {name: group.scans for name, group in scores.groups.items()} == {
        "unseen cases": ("case2_day1",),
        "unseen cases (they chose the weights)": ("case2_day0",),
        "later days of seen cases (they chose the weights)": ("case1_day1",),
        "seen scans": ("case1_day0",),
    }
    assert scores.headline.name == summary(out)["headline"] == "unseen scans (2 of 3 chose the weights)"
    told = {scan["scan"]: scan["chose_weights"] for scan in summary(out)["metric_per_case"]}
    assert [name for name, chose in told.items() if not chose] == ["case2_day1"]
    stored = score_files.read(out)
    assert [stored[scan.scan].group for scan in scores.scans] == [scan.group for scan in scores.scans]


def test_of_records_of_earlier_versions_the_set_says_what_chose_the_weights(
    dataset: Dataset, out: Path
) -> None:
    sets = {"case1_day0": "unseen_cases", "case1_day1": "later_days", "case2_day0": "hold_out"}
    for scan, fold_set in sets.items():
        predicted.write(out, dataset, scan, fold_set=fold_set)

    chose = {scan.scan: scan.chose_weights for scan in evaluate(out, dataset.folder, workers=1).scans}

    assert chose == {"case1_day0": True, "case1_day1": True, "case2_day0": False}


def test_weights_of_unknown_scans_are_told_where_scores_are(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0", unknown_weights=["bundle/model.pt"])
    scores = evaluate(out, dataset.folder, workers=1)

    assert scores.notes == ("unknown which scans the weights began with saw: bundle/model.pt",)
    assert summary(out)["notes"] == [*scores.notes]


def test_masks_of_another_image_of_the_same_name_are_not_scored(dataset: Dataset, out: Path) -> None:
    for sample in dataset.samples:
        change(Dataset.load(dataset.folder), sample.name, image_hash=f"image of {sample.name}")
    predicted.write(out, dataset, "case1_day0", image_hash="another hospital's")
    with pytest.raises(UserError, match="case1_day0: its masks are of another image than case1_day0 of"):
        evaluate(out, dataset.folder, workers=1)

    shutil.rmtree(out)
    predicted.write(out, dataset, "case1_day1", image_hash="image of case1_day1")
    predicted.write(out, dataset, "case2_day0")  # of an earlier version: known by its name alone
    scores = evaluate(out, dataset.folder, workers=1)

    assert [scan.scan for scan in scores.scans] == ["case1_day1", "case2_day0"]


def test_masks_are_scored_by_the_labels_of_their_image_whatever_its_name(dataset: Dataset, out: Path) -> None:
    change(dataset, "case2_day1", image_hash="the image")
    predicted.write(out, dataset, "case2_day1").rename(out / "image")
    values = json.loads((out / "image" / "record.json").read_text())
    values |= {"scan": "image", "image_hash": "the image"}
    (out / "image" / "record.json").write_text(json.dumps(values))

    scores = evaluate(out, dataset.folder, workers=1)

    assert [(scan.scan, scan.case) for scan in scores.scans] == [("image", "case2")]
    assert scores.headline.foreground_mean["Dice"] == 1


def test_a_missed_organ_is_counted_and_never_averaged_away(dataset: Dataset, out: Path) -> None:
    missed = shifted(dataset, "case1_day0", empty=True)
    predicted.write(out, dataset, "case1_day0", masks=missed)
    predicted.write(out, dataset, "case2_day0", masks=shifted(dataset, "case2_day0"))
    evaluate(out, dataset.folder, workers=1)

    assert lines(out)["case1_day0", "stomach", "HD"] == math.inf
    told = summary(out)
    assert told["metric_per_case"][0]["metrics"]["stomach"]["HD"] is None
    assert told["mean"]["stomach"]["HD"] == 1.5
    assert told["mean"]["stomach"]["HD_missed"] == 1
    assert told["foreground_mean"]["HD95_missed"] == 1
    assert told["mean"]["stomach"]["Dice"] == pytest.approx(lines(out)["case2_day0", "stomach", "Dice"] / 2)


def class_means(rows: list[dict[str, float]]) -> dict[str, float]:
    """The means of a class over scans with these values of its metrics."""
    part = kaggle_score.KaggleTerms(np.full((1, 1), math.nan), np.array([math.nan]), math.nan)
    origins = [ScanInfo(scan=f"case{n}_day0", case=f"case{n}", seen="none") for n in range(len(rows))]
    scans = [one.with_scores({"stomach": row}, part) for one, row in zip(origins, rows, strict=True)]
    return dict(summarise_scans("all", scans).mean["stomach"])


def test_means_leave_out_what_has_nothing_to_measure() -> None:
    rows = [{"Dice": 1.0, "HD": math.nan}, {"Dice": math.nan, "HD": 3.0}, {"Dice": 0, "HD": math.inf}]

    assert class_means(rows) == {"Dice": 0.5, "HD": 3, "HD_missed": 1}


def test_whatever_can_be_infinite_is_counted_beside_the_mean_of_the_finite() -> None:
    empty, full = np.zeros((2, 4, 4, 4), bool)
    full[1:3, 1:3, 1:3] = True
    pairs = [(full, full), (full, empty), (empty, full), (empty, empty)]
    found = class_means([compute_metrics(MaskPair(*pair, (1.0, 1.0, 1.0))) for pair in pairs])

    # missed in the 2nd, invented in the 3rd, and in the 4th nothing to measure
    counted = {name: value for name, value in found.items() if name.endswith("_missed")}
    assert counted == {
        "HD_missed": 2,
        "HD95_missed": 2,
        "ASSD_missed": 2,
        "volume_difference_percent_missed": 1,
    }
    assert found["ASSD"] == 0
    assert found["volume_difference_percent"] == -50  # of 0 and -100; without truth there is none
    assert found["volume_difference_ml"] == 0  # of 0, -0.008, 0.008 and 0


def test_beyond_the_labelled_slices_nothing_counts_in_the_labelled_metrics(
    dataset: Dataset, out: Path
) -> None:
    masks = dataset.labels(dataset.select_samples("case1_day0")[0]).copy()
    masks[1, 2, 2, 9] = True  # beyond the cut: the labels of either class end before slice 8
    predicted.write(out, dataset, "case1_day0", masks=masks)
    found = (evaluate(out, dataset.folder, workers=1), lines(out))[1]

    assert found["case1_day0", "stomach", "Dice"] < 1
    assert found["case1_day0", "stomach", "HD"] > 0
    assert found["case1_day0", "stomach", "Dice_labelled"] == 1
    assert found["case1_day0", "stomach", "HD95_labelled"] == 0


def test_the_labelled_range_is_that_of_all_classes_together(dataset: Dataset, out: Path) -> None:
    sample = dataset.select_samples("case1_day0")[0]
    truth = dataset.labels(sample).copy()
    truth[:] = False
    truth[0, 3:5, 3:5, 2:9] = True
    truth[1, 9:12, 3:5, 4:6] = True
    for name, mask in zip(tiny.CLASSES, truth, strict=True):
        write_volume(Volume(mask.astype(np.uint8), tiny.AFFINE), dataset.folder / sample.labels[name])
    masks = truth.copy()
    masks[1, 9:12, 3:5, 8] = True  # no stomach is labelled there, but large bowel is
    predicted.write(out, dataset, "case1_day0", masks=masks)
    evaluate(out, dataset.folder, workers=1)

    assert lines(out)["case1_day0", "stomach", "Dice_labelled"] == pytest.approx(2 * 12 / 30)


def test_scans_without_a_score_are_named_with_the_reason(dataset: Dataset, out: Path) -> None:
    for scan in ("case1_day0", "case1_day1", "case2_day0"):
        predicted.write(out, dataset, scan)
    predicted.record(out, "case2_day1", status="failed", reason="no memory")
    shutil.copytree(out / "case1_day0", out / "case9_day9")
    predicted.record(out, "case9_day9")
    change(dataset, "case1_day1", labels=None)
    change(Dataset.load(dataset.folder), "case2_day0", excluded=True)
    scores = evaluate(out, dataset.folder, workers=1)

    assert [one.scan for one in scores.scans] == ["case1_day0"]
    assert scores.failed == {"case2_day1": "no memory"}
    assert scores.skipped == {
        "case1_day1": "has no labels",
        "case2_day0": "excluded: its labels are known to be bad",
        "case9_day9": f"not in {dataset.folder}",
    }
    assert summary(out)["failed"] == scores.failed


def test_no_scan_with_truth_is_an_error_that_says_why(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0")
    change(dataset, "case1_day0", labels=None)

    with pytest.raises(UserError, match=r"no scan can be scored.*\n.*has no labels"):
        evaluate(out, dataset.folder, workers=1)


def test_all_problems_are_told_at_once(dataset: Dataset, out: Path) -> None:
    for scan in ("case1_day0", "case1_day1"):
        predicted.write(out, dataset, scan)
    predicted.record(out, "case1_day0", classes=("liver",))
    (out / "case1_day1" / "stomach.nii.gz").unlink()

    with pytest.raises(UserError) as error:
        evaluate(out, dataset.folder, workers=1)
    assert "case1_day0: has the classes liver" in str(error.value)
    assert "case1_day1: stomach.nii.gz missing" in str(error.value)
    assert not (out / "scores.csv").exists()


def test_another_grid_and_a_damaged_file_are_told_at_once(dataset: Dataset, out: Path) -> None:
    for scan in ("case1_day0", "case1_day1", "case2_day0", "case2_day1"):
        predicted.write(out, dataset, scan)
    turned = np.zeros((16, 20, 10), np.uint8)
    write_volume(Volume(turned, tiny.AFFINE), out / "case1_day0" / "stomach.nii.gz")
    (out / "case1_day1" / "stomach.nii.gz").write_bytes(b"junk")
    write_volume(Volume(np.zeros(tiny.SHAPE, np.uint8), np.eye(4)), out / "case2_day0" / "stomach.nii.gz")
    write_volume(Volume(np.full(tiny.SHAPE, 7, np.uint8), tiny.AFFINE), out / "case2_day1/stomach.nii.gz")

    with pytest.raises(UserError) as error:
        evaluate(out, dataset.folder, workers=1)
    told = str(error.value).splitlines()
    assert len(told) == 4
    assert "another grid (shape 16x20x10" in told[0]
    assert "its scan (shape 20x16x10" in told[0]
    assert "not a readable" in told[1]
    assert "affine [1 0 0 0]" in told[2]
    assert "holds the values 7; expected a mask" in told[3]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda out: shutil.rmtree(out / "case1_day0"), "no masks in it"),
        (lambda out: (out / "case1_day0/record.json").unlink(), r"without record\.json"),
        (lambda out: (out / "case1_day0/record.json").write_text("{"), "not a record"),
        (lambda out: (out / "case1_day0/record.json").write_text("[]"), "not a record"),
        (lambda out: predicted.record(out, "case1_day0", seen="perhaps"), "seen: Input should be"),
        (lambda out: predicted.record(out, "case1_day0", scan="case1_day1"), "of case1_day1; exp"),
    ],
)
def test_a_folder_that_is_no_prediction_is_a_users_mistake(
    dataset: Dataset, out: Path, spoil, message
) -> None:
    predicted.write(out, dataset, "case1_day0")
    spoil(out)

    with pytest.raises(UserError, match=message):
        evaluate(out, dataset.folder, workers=1)


def moved(dataset: Dataset, scan: str, by: int) -> np.ndarray:
    """The truth moved by some rows, (C, X, Y, Z)."""
    return np.roll(dataset.labels(dataset.select_samples(scan)[0]), by, axis=2)


@pytest.fixture
def many(tmp_path: Path, out: Path) -> Dataset:
    """Nine cases of two days, predicted well and less well."""
    dataset = tiny.write(tmp_path / "many", cases=9, days=2)
    for number, sample in enumerate(dataset.samples):
        masks = moved(dataset, sample.name, number % 4)
        seen = "case" if sample.day else "none"
        predicted.write(out, dataset, sample.name, masks=masks, seen=seen)
    return dataset


def test_intervals_stand_beside_the_means_and_come_from_cases(many: Dataset, out: Path) -> None:
    evaluate(out, many.folder, workers=1)
    found, told = lines(out), summary(out)

    by_case = {
        f"case{number}": [
            [found[f"case{number}_day{day}", name, "Dice"] for name in tiny.CLASSES] for day in (0, 1)
        ]
        for number in range(1, 10)
    }
    expected = bootstrap.mean(by_case)
    stomach = bootstrap.mean({case: np.array(rows)[:, 1] for case, rows in by_case.items()})
    interval = told["interval"]
    assert told["cases"] == 9
    assert interval["foreground_mean"]["Dice"] == pytest.approx([expected.low, expected.high])
    assert interval["mean"]["stomach"]["Dice"] == pytest.approx([stomach.low, stomach.high])
    low, high = interval["kaggle"]
    assert low < told["kaggle"]["score"] < high
    assert "over cases" in told["interval_method"]


def test_every_estimate_is_the_mean_that_it_stands_beside(many: Dataset, out: Path) -> None:
    predicted.write(out, many, "case1_day0", masks=shifted(many, "case1_day0", empty=True))
    for group in evaluate(out, many.folder, workers=1).groups.values():
        found = group.intervals
        for metric, estimate in found.foreground_mean.items():
            assert estimate.mean == pytest.approx(group.foreground_mean[metric])
            for organ in tiny.CLASSES:
                assert found.mean[organ][metric].mean == pytest.approx(group.mean[organ][metric])
        assert found.kaggle.mean == pytest.approx(group.kaggle.score)


def test_below_eight_cases_there_is_no_interval_and_the_line_says_so(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0", masks=shifted(dataset, "case1_day0"))
    predicted.write(out, dataset, "case2_day0")
    scores = evaluate(out, dataset.folder, workers=1)

    assert summary(out)["interval"] is None
    assert scores.headline.line.endswith("no interval: 2 cases, 8 are needed")
    assert "[" not in scores.headline.line


def test_the_unseen_scans_are_told_by_case_by_day_and_by_matrix_size(many: Dataset, out: Path) -> None:
    predicted.write(out, many, "case1_day0", seen="scan")
    change(many, "case2_day1", day=20)  # days have gaps; it is the second all the same
    evaluate(out, many.folder, workers=1)
    told = summary(out)["by"]

    assert list(told["case"]) == [f"case{number}" for number in range(1, 10)]
    assert told["case"]["case1"]["scans"] == ["case1_day1"]
    assert [len(one["scans"]) for one in told["day"].values()] == [8, 9]
    assert "case2_day1" in told["day"]["2"]["scans"]
    assert list(told["matrix"]) == ["20x16"]
    assert told["day"]["1"]["interval"] is not None
    assert told["case"]["case2"]["interval"] is None
    scan = summary(out)["metric_per_case"][3]
    assert (scan["scan"], scan["case"], scan["day"], scan["matrix"]) == (
        "case2_day1", "case2", 2, "20x16",
    )  # fmt: skip


def test_several_processes_give_the_same_scores(dataset: Dataset, out: Path) -> None:
    for scan in ("case2_day1", "case1_day0", "case1_day1"):
        predicted.write(out, dataset, scan, masks=shifted(dataset, scan))
    alone = (evaluate(out, dataset.folder, workers=1), (out / "summary.json").read_bytes())
    together = (evaluate(out, dataset.folder, workers=2), (out / "summary.json").read_bytes())

    assert alone[1] == together[1]
    assert [one.scan for one in together[0].scans] == ["case1_day0", "case1_day1", "case2_day1"]


def test_the_table_of_scores_has_the_lines_of_the_file_and_what_training_saw(
    dataset: Dataset, out: Path
) -> None:
    predicted.write(out, dataset, "case1_day0", masks=shifted(dataset, "case1_day0", empty=True))
    predicted.write(out, dataset, "case2_day1", seen="case")
    table = evaluate(out, dataset.folder, workers=1).to_frame()

    assert list(table.columns) == ["scan", "case", "class", "metric", "value", "seen"]
    found = table.set_index(["scan", "class", "metric"])["value"].to_dict()
    assert found == pytest.approx(lines(out), rel=0, abs=0, nan_ok=True)
    assert math.isinf(found["case1_day0", "stomach", "HD"])
    about = table[["scan", "case", "seen"]].drop_duplicates().to_numpy().tolist()
    assert about == [["case1_day0", "case1", "none"], ["case2_day1", "case2", "case"]]


def other_forms(dataset: Dataset, folder: Path, masks: dict[str, np.ndarray]) -> dict[str, Path]:
    """The same masks (C, X, Y, Z) by scan as volseg, nnU-Net and TotalSegmentator write them."""
    forms = {name: folder / name for name in ("volseg", "nnunet", "total", "turned")}
    for scan, of_classes in masks.items():
        predicted.write(forms["volseg"], dataset, scan, masks=of_classes)
        labels = (of_classes * np.array([1, 2])[:, None, None, None]).sum(axis=0)
        write_volume(Volume(labels.astype(np.uint8), tiny.AFFINE), forms["nnunet"] / f"{scan}.nii.gz")
        for name, mask in zip(tiny.CLASSES, of_classes, strict=True):
            image = nibabel.Nifti1Image(mask.astype(np.uint8), tiny.AFFINE)
            for form, inner, saved in (
                ("total", "segmentations", image),
                ("turned", "", nibabel.as_closest_canonical(image)),
            ):
                (forms[form] / scan / inner).mkdir(parents=True, exist_ok=True)
                nibabel.save(saved, forms[form] / scan / inner / f"{name}.nii.gz")
    (forms["nnunet"] / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "large_bowel": 1, "stomach": 2}})
    )
    return forms


def test_masks_of_other_tools_have_the_scores_of_our_own_to_the_last_digit(tmp_path: Path) -> None:
    dataset = tiny.write(tmp_path / "data", cases=2, days=2, exclusive=True)
    masks = {sample.name: moved(dataset, sample.name, sample.day) for sample in dataset.samples}
    forms = other_forms(dataset, tmp_path, masks)
    scores = {name: evaluate(folder, dataset.folder, workers=1) for name, folder in forms.items()}

    first, *others = [(folder / "scores.csv").read_bytes() for folder in forms.values()]
    assert others == [first] * 3
    for name in ("nnunet", "total", "turned"):
        assert scores[name].headline.kaggle == scores["volseg"].headline.kaggle
        assert scores[name].headline.name == "unknown whether training saw them"
        assert scores[name].runs == ("unknown",)
        assert "unknown" in scores[name].notes[0]
    assert scores["volseg"].headline.name == "unseen scans"
    assert scores["volseg"].notes == ()


def test_labelled_scans_of_which_another_tool_has_no_masks_are_told(tmp_path: Path) -> None:
    """A mean over the scans that a tool managed looks better than it is."""
    dataset = tiny.write(tmp_path / "data", cases=4, days=1)
    change(dataset, "case2_day0", excluded=True)
    dataset = Dataset.load(dataset.folder)
    change(dataset, "case3_day0", labels=None)
    dataset = Dataset.load(dataset.folder)
    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder, scans in ((whole, ("case1_day0", "case4_day0")), (part, ("case4_day0",))):
        for scan in scans:
            masks = dataset.labels(dataset.select_samples(scan)[0])
            labels = sum(number * mask for number, mask in enumerate(masks, start=1))
            write_volume(Volume(labels.astype(np.uint8), tiny.AFFINE), folder / f"{scan}.nii.gz")

    told = f"{part}: no masks of 1 of 2 labelled scans, which no mean counts: case1_day0"
    assert told in evaluate(part, dataset.folder).notes
    assert not [note for note in evaluate(whole, dataset.folder).notes if "no masks of" in note]


def test_what_is_unknown_is_never_counted_as_unseen(many: Dataset, out: Path) -> None:
    predicted.write(out, many, "case1_day0", seen="unknown")
    scores = evaluate(out, many.folder, workers=1)

    assert "case1_day0" not in scores.headline.scans
    assert scores.groups["unknown whether training saw them"].scans == ("case1_day0",)


def test_resampling_is_told_in_the_result_and_its_scores_are_its_own(dataset: Dataset, out: Path) -> None:
    predicted.write(out, dataset, "case1_day0")
    affine = tiny.AFFINE.copy()
    affine[0, 3] += 1.5
    for name in tiny.CLASSES:
        mask = dataset.label(dataset.samples[0], name).astype(np.uint8)
        write_volume(Volume(mask, affine), out / "case1_day0" / f"{name}.nii.gz")

    with pytest.raises(UserError, match="another grid"):
        evaluate(out, dataset.folder, workers=1)
    scores = evaluate(out, dataset.folder, workers=1, options=MaskOptions(resample=True))

    told = tuple(note for note in scores.notes if "resampled" in note)
    assert len(told) == 2
    assert lines(out)["case1_day0", "stomach", "HD"] == 1.5
    assert summary(out)["notes"] == list(scores.notes)
    assert score_files.read(out)["case1_day0"].notes == told


def test_files_of_other_programs_are_not_replaced(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    predicted.write(out, dataset, "case1_day0")
    (out / "summary.json").write_text('{"foreground_mean": {"Dice": 0.5}}')

    with pytest.raises(UserError, match=r"summary\.json: `volseg evaluate` did not write it; pass --out"):
        evaluate(out, dataset.folder, workers=1)
    evaluate(out, dataset.folder, workers=1, out=tmp_path / "scores")
    assert (out / "summary.json").read_text() == '{"foreground_mean": {"Dice": 0.5}}'


@pytest.mark.parametrize("axes", [(2, 0, 1), (0, 2, 1)])
def test_slices_run_across_the_axis_from_head_to_feet(tmp_path: Path, axes: tuple[int, ...]) -> None:
    scores = {}
    for name in ("usual", "turned"):
        dataset = tiny.write(tmp_path / name, cases=1, days=1)
        sample = dataset.samples[0]
        masks = tmp_path / f"{name} masks"
        for class_name, mask in zip(tiny.CLASSES, dataset.labels(sample), strict=True):
            files = (masks / sample.name / f"{class_name}.nii.gz", dataset.folder / sample.labels[class_name])
            for file, first in zip(files, (0, 3), strict=True):  # labels stop within the organs
                shown = np.where(np.arange(tiny.SHAPE[2]) < first, 0, mask).astype(np.uint8)
                write_volume(Volume(shown, tiny.AFFINE), file)
        if name == "turned":
            turned.turn_dataset(dataset, axes)
            for class_name in tiny.CLASSES:
                turned.turn_file(masks / sample.name / f"{class_name}.nii.gz", axes)
        evaluate(masks, dataset.folder, workers=1)
        scores[name] = lines(masks) | {("", "", "kaggle"): summary(masks)["kaggle"]["score"]}
        assert summary(masks)["metric_per_case"][0]["matrix"] == "20x16"

    assert scores["turned"] == pytest.approx(scores["usual"], rel=1e-6)
    found = scores["usual"]
    assert found["case1_day0", "stomach", "Dice"] < found["case1_day0", "stomach", "Dice_labelled"]
