"""Which of two predictions is better, and whether that can be told."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests import predicted, tiny
from volseg import cli
from volseg.arguments import CompareArguments
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume
from volseg.data.volume_files import write_volume
from volseg.errors import UserError
from volseg.evaluation import bootstrap, evaluate_work, scan_scores
from volseg.evaluation import evaluate as evaluation
from volseg.evaluation.comparison import compare as stage
from volseg.evaluation.comparison import tables
from volseg.evaluation.comparison.compare import ComparisonResult, compare
from volseg.evaluation.evaluate import evaluate

CASES = 9
ALL = [f"case{case}_day{day}" for case in range(1, CASES + 1) for day in (0, 1)]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch) -> Dataset:
    monkeypatch.setattr(stage, "score_pairs", partial(evaluation.score_pairs, workers=1))
    return tiny.write(tmp_path / "data", cases=CASES, days=2)


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return tmp_path / "a"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return tmp_path / "b"


def predict(
    folder: Path,
    dataset: Dataset,
    moved: Callable[[str], int] = lambda _: 0,
    *,
    scans: list[str] = ALL,
    **told: object,
) -> None:
    """The truth, moved by some columns."""
    for scan in scans:
        masks = np.roll(dataset.labels(dataset.select_samples(scan)[0]), moved(scan), axis=1)
        predicted.write(folder, dataset, scan, masks=masks, **told)


def number(scan: str) -> int:
    return ALL.index(scan)


def empty(dataset: Dataset, scan: str, *organs: int) -> np.ndarray:
    masks = dataset.labels(dataset.select_samples(scan)[0]).copy()
    masks[list(organs)] = False
    return masks


def shown(table: object, width: int) -> str:
    console = Console(width=width, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_the_difference_is_the_paired_one_over_cases(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset, lambda scan: number(scan) % 4)
    predict(b, dataset, lambda scan: number(scan) % 3)
    found = compare(a, b, dataset.folder)

    dice = [
        {
            one.scan: [one.values[organ]["Dice"] for organ in tiny.CLASSES]
            for one in evaluate(folder, dataset.folder, workers=1).scans
        }
        for folder in (a, b)
    ]
    by_case = {
        f"case{case}": np.array([np.subtract(dice[1][s], dice[0][s]) for s in ALL if f"e{case}_" in s])
        for case in range(1, CASES + 1)
    }
    expected = bootstrap.mean(by_case)
    told = found.overall.difference
    assert (told.mean, told.low, told.high) == pytest.approx((expected.mean, expected.low, expected.high))
    assert found.overall.b - found.overall.a == pytest.approx(told.mean)
    for column, row in enumerate(found.classes):
        alone = bootstrap.mean({case: rows[:, column] for case, rows in by_case.items()})
        assert (row.difference.mean, row.difference.low) == pytest.approx((alone.mean, alone.low))


@pytest.mark.parametrize("metric", ["Dice", "HD95", "NSD2", "Dice_labelled", "kaggle"])
def test_the_better_one_is_named_whichever_side_it_is_on(
    dataset: Dataset, a: Path, b: Path, metric: str
) -> None:
    predict(a, dataset, lambda scan: 1 + number(scan) % 2)
    predict(b, dataset)
    there, back = (compare(*two, dataset.folder, metric=metric) for two in ((a, b), (b, a)))

    assert (there.overall.verdict, back.overall.verdict) == ("B", "A")
    assert [row.verdict for row in there.classes] == ["B", "B"]
    assert there.overall.difference.mean == pytest.approx(-back.overall.difference.mean)
    word = "lower" if metric == "HD95" else "higher"
    assert tables.verdict_sentence(there).startswith(f"B is better: {metric} is {word} by ")
    assert tables.verdict_sentence(there)[1:] == tables.verdict_sentence(back)[1:]
    assert "-" not in tables.verdict_sentence(there)


def test_it_says_plainly_when_the_interval_holds_0(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset, lambda scan: number(scan) // 2 % 2)
    predict(b, dataset, lambda scan: 1 - number(scan) // 2 % 2)
    found = compare(a, b, dataset.folder)

    assert found.overall.difference.low < 0 < found.overall.difference.high
    assert found.overall.verdict == "open"
    assert tables.verdict_sentence(found).startswith("no difference can be told: Dice of B - A is ")
    assert tables.verdict_sentence(found).endswith("], 9 cases")


def test_below_eight_cases_nothing_is_told_however_large_the_difference(
    dataset: Dataset, a: Path, b: Path
) -> None:
    few = ALL[:14]
    predict(a, dataset, lambda _: 5, scans=few)
    predict(b, dataset, scans=few)
    found = compare(a, b, dataset.folder)

    assert found.overall.verdict == "few"
    assert found.overall.difference.mean > 0.5
    assert "no difference can be told" in tables.verdict_sentence(found)
    assert "no interval: 7 cases, 8 are needed" in tables.verdict_sentence(found)


def test_equal_predictions_are_the_same(dataset: Dataset, a: Path, b: Path) -> None:
    for folder in (a, b):
        predict(folder, dataset, lambda scan: number(scan) % 3)
    for metric in ("Dice", "HD", "kaggle"):
        found = compare(a, b, dataset.folder, metric=metric)
        assert tables.verdict_sentence(found) == f"no difference: {metric} is the same on all 18 scans"


def test_scans_are_sorted_from_the_best_for_a_to_the_best_for_b(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset, lambda scan: {"case3_day1": 0}.get(scan, 1))
    predict(b, dataset, lambda scan: {"case3_day1": 2, "case5_day0": 0}.get(scan, 1))
    predicted.write(b, dataset, "case7_day0", masks=empty(dataset, "case7_day0", 1))
    for metric in ("Dice", "HD"):
        found = compare(a, b, dataset.folder, metric=metric).by_scan
        assert {found[0].scan, found[-1].scan} <= {"case3_day1", "case5_day0", "case7_day0"}
        assert found[-1].scan == ("case5_day0" if metric == "Dice" else found[-1].scan)
    dice = {one.scan: one for one in compare(a, b, dataset.folder).by_scan}
    assert dice["case7_day0"].most == "stomach"
    assert dice["case7_day0"].most_difference < -0.5
    assert dice["case1_day0"].difference == 0


def test_what_one_invents_counts_against_it_and_what_it_misses_is_counted(
    dataset: Dataset, a: Path, b: Path
) -> None:
    predict(a, dataset)
    predict(b, dataset)
    truth = dataset.select_samples("case2_day0")[0].labels["stomach"]
    write_volume(Volume(np.zeros(tiny.SHAPE, np.uint8), tiny.AFFINE), dataset.folder / truth)
    predicted.write(a, dataset, "case2_day0")  # rightly empty, and B is not
    predicted.write(b, dataset, "case3_day0", masks=empty(dataset, "case3_day0", 0, 1))

    dice = compare(a, b, dataset.folder)
    assert dice.overall.a == 1
    assert dice.overall.b == pytest.approx(1 - 3 / 36)
    assert dice.overall.missed == (0, 0)
    far = compare(a, b, dataset.folder, metric="HD95")
    assert far.overall.missed == (0, 3)
    assert far.overall.verdict == "open"  # not the same, though no scan of both differs
    assert any("organs missed or invented: A 0, B 3" in note for note in tables.verdict_notes(far))
    assert "0.0 +3" in shown(tables.class_difference_table(far), 100)


def test_scans_that_one_side_lacks_are_named_and_left_out_only_on_request(
    dataset: Dataset, a: Path, b: Path, monkeypatch
) -> None:
    predict(a, dataset, scans=ALL[:-1])
    predict(b, dataset, scans=ALL[2:], moved=lambda _: 1)
    predicted.record(b, "case1_day0", status="failed", reason="no memory")
    again = counted(monkeypatch)  # it is told before minutes are spent on scores

    with pytest.raises(UserError) as error:
        compare(a, b, dataset.folder)
    assert str(error.value).splitlines() == [
        f"{a}: lacks scans that {b} has: case9_day1; predict them, or pass --common",
        f"{b}: lacks scans that {a} has: case1_day0 (failed: no memory), case1_day1; "
        "predict them, or pass --common",
    ]
    assert again == []
    found = compare(a, b, dataset.folder, common=True)
    assert found.scans == tuple(ALL[2:-1])
    assert any("lacks scans" in note and "case9_day1" in note for note in found.notes)


def test_two_predictions_without_a_common_scan_are_refused(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset, scans=ALL[:2])
    predict(b, dataset, scans=ALL[2:4])

    with pytest.raises(UserError, match="no scan to compare fairly"):
        compare(a, b, dataset.folder, common=True)


def test_scans_that_one_side_was_trained_on_are_left_out_and_named(
    dataset: Dataset, a: Path, b: Path
) -> None:
    predict(a, dataset)
    predict(b, dataset, lambda _: 1)
    predicted.record(a, "case1_day0", seen="scan")
    predicted.record(b, "case2_day0", seen="scan")
    for folder in (a, b):
        predicted.record(folder, "case3_day0", seen="scan")
    predicted.record(b, "case4_day0", seen="case")
    found = compare(a, b, dataset.folder)

    assert set(found.scans) == set(ALL) - {"case1_day0", "case2_day0", "case3_day0"}
    assert found.notes[-4:] == (
        "trained on by A only, left out: case1_day0",
        "trained on by B only, left out: case2_day0",
        "only B was trained on other days of their cases: case4_day0",
        "trained on by both, left out: case3_day0",
    )
    assert {row.name: row.scans for row in found.groups} == {
        "unseen cases": 14,
        "later days of seen cases": 1,
    }


def test_scans_that_both_were_trained_on_are_compared_if_there_are_no_others(
    dataset: Dataset, a: Path, b: Path
) -> None:
    predict(a, dataset, seen="scan")
    predict(b, dataset, lambda _: 1, seen="scan")
    found = compare(a, b, dataset.folder)

    assert len(found.scans) == 18
    assert any("tells nothing of new ones" in note for note in found.notes)


def test_a_comparison_that_is_nowhere_fair_is_refused(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset, seen="scan")
    predict(b, dataset)

    with pytest.raises(UserError, match=r"no scan to compare fairly\ntrained on by A only"):
        compare(a, b, dataset.folder)


def counted(monkeypatch) -> list[str]:
    """The scans that are scored from now on."""
    scans: list[str] = []

    def spy(pair: scan_scores.ScanFilePair):
        scans.append(pair.origin.scan)
        return scan_scores.score_scan(pair)

    monkeypatch.setattr(evaluate_work, "score_scan", spy)
    return scans


def values(found: ComparisonResult) -> list[tuple[str, float, float]]:
    return [(one.scan, one.a, one.b) for one in found.by_scan]


@pytest.mark.parametrize("metric", ["Dice", "HD", "kaggle"])
def test_scores_that_are_there_are_taken_and_give_the_same(
    dataset: Dataset, a: Path, b: Path, monkeypatch, metric: str
) -> None:
    predict(a, dataset, lambda scan: number(scan) % 3)
    predict(b, dataset, lambda scan: number(scan) % 2)
    fresh = compare(a, b, dataset.folder, metric=metric)
    assert not (a / "scores.csv").exists()
    assert f"{a}: has no scores; `volseg evaluate {a}` keeps them for next time" in fresh.notes
    (b / "summary.json").write_text("{}")  # as nnU-Net leaves one
    theirs = f"{b}: has no scores; `volseg evaluate {b} --out SCORES` keeps them; then compare SCORES"
    assert theirs in compare(a, b, dataset.folder, metric=metric).notes
    (b / "summary.json").unlink()
    for folder in (a, b):
        evaluate(folder, dataset.folder, workers=1)
    again = counted(monkeypatch)
    found = compare(a, b, dataset.folder, metric=metric)

    assert again == []
    assert found.notes == ()
    for one, other in zip(sorted(values(fresh)), sorted(values(found)), strict=True):
        assert one[1:] == pytest.approx(other[1:], abs=1e-6)


def test_scores_that_are_out_of_date_are_found_anew_and_named(
    dataset: Dataset, a: Path, b: Path, monkeypatch
) -> None:
    for folder in (a, b):
        predict(folder, dataset, lambda _: 1)
        evaluate(folder, dataset.folder, workers=1)
    predicted.write(a, dataset, "case2_day1")
    again = counted(monkeypatch)
    found = compare(a, b, dataset.folder)

    assert again == ["case2_day1"]
    assert found.notes == (f"{a}: its scores are out of date; scored anew: case2_day1",)
    assert found.by_scan[0].scan == "case2_day1"
    assert found.by_scan[0].a == 1


def test_masks_that_one_side_has_corrected_are_compared_as_they_are_and_told_of_that_side(
    dataset: Dataset, a: Path, b: Path, monkeypatch
) -> None:
    for folder in (a, b):
        predict(folder, dataset)
        evaluate(folder, dataset.folder, workers=1)
    predicted.correct(b / "case2_day1", stomach=-5)
    again = counted(monkeypatch)

    found = compare(a, b, dataset.folder)

    assert again == ["case2_day1"]
    assert found.by_scan[0].scan == "case2_day1"
    assert found.by_scan[0].a == 1 > found.by_scan[0].b
    assert found.notes[0].startswith("B: case2_day1: corrected in corrected/: stomach (5 voxels, 0.5 ml)")
    predicted.correct(a / "case2_day1", stomach=-5)
    assert compare(a, b, dataset.folder).notes[0].startswith("case2_day1: corrected in corrected/")


def test_scores_of_changed_labels_are_out_of_date(dataset: Dataset, a: Path, b: Path, monkeypatch) -> None:
    for folder in (a, b):
        predict(folder, dataset)
        evaluate(folder, dataset.folder, workers=1)
    label = dataset.folder / dataset.select_samples("case4_day0")[0].labels["stomach"]
    write_volume(Volume(np.ones(tiny.SHAPE, np.uint8), tiny.AFFINE), label)
    again = counted(monkeypatch)
    compare(a, b, dataset.folder)

    assert again == ["case4_day0", "case4_day0"]


def test_a_folder_of_scores_stands_for_the_masks_they_are_of(
    dataset: Dataset, a: Path, b: Path, tmp_path: Path, monkeypatch
) -> None:
    predict(a, dataset)
    predict(b, dataset, lambda _: 1)
    evaluate(b, dataset.folder, out=tmp_path / "scores", workers=1)
    again = counted(monkeypatch)
    found = compare(a, tmp_path / "scores", dataset.folder)

    assert found.overall.verdict == "A"
    assert again == ALL  # those of a
    shutil.rmtree(b)
    with pytest.raises(UserError, match=r"scores: its scores are of the masks in .*b, which are not"):
        compare(a, tmp_path / "scores", dataset.folder)


def mask(voxels: np.ndarray, affine: np.ndarray = tiny.AFFINE) -> Callable[[Path], object]:
    """Put it in the place of one class of one scan."""
    file = "case1_day0/stomach.nii.gz"
    return lambda folder: write_volume(Volume(voxels.astype(np.uint8), affine), folder / file)


def instead(name: str) -> Callable[[Path], object]:
    """A folder with only that file; for "" the file itself."""

    def replace(folder: Path) -> None:
        shutil.rmtree(folder)
        if name:
            folder.mkdir()
        (folder / name).touch()

    return replace


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (mask(np.zeros((16, 20, 10))), r"another grid \(shape 16x20x10.*pass --resample"),
        (mask(np.zeros(tiny.SHAPE), np.eye(4)), r"stomach.nii.gz: lies on another grid .*affine \[1 0 0 0\]"),
        (
            lambda b: predicted.record(b, "case1_day0", classes=("liver", "stomach")),
            "case1_day0: has the classes liver, stomach; .* has large_bowel, stomach; pass --data",
        ),
        (lambda b: (b / "case1_day0/stomach.nii.gz").unlink(), "case1_day0: stomach.nii.gz missing"),
        (shutil.rmtree, "b: no such folder"),
        (instead("config.yaml"), "b: a run, not predictions; make some: `volseg infer --run"),
        (instead("notes.txt"), "b: no masks in it"),
        (instead(""), "b: a file; name the folder that it lies in: "),
    ],
)
def test_what_can_not_be_compared_is_a_users_mistake(
    dataset: Dataset, a: Path, b: Path, spoil: Callable[[Path], object], message: str
) -> None:
    predict(a, dataset, scans=ALL[:2])
    predict(b, dataset, scans=ALL[:2])
    spoil(b)

    with pytest.raises(UserError, match=message):
        compare(a, b, dataset.folder)


def test_the_faults_of_both_sides_are_told_at_once(dataset: Dataset, a: Path, b: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)a: no such folder.*b: no such folder"):
        compare(a, b, dataset.folder)
    with pytest.raises(UserError, match="the same folder"):
        compare(a, a, dataset.folder)
    with pytest.raises(UserError) as error:
        compare(a, b, a)
    assert str(error.value).count("no dataset.json") == 1


def test_a_metric_that_no_scan_has_is_refused(dataset: Dataset, a: Path, b: Path) -> None:
    for folder in (a, b):
        folder.mkdir()
        for scan in ALL[:2]:
            predicted.write(folder, dataset, scan, masks=empty(dataset, scan, 0, 1))

    with pytest.raises(UserError, match="no scan whose HD95 both can be given; try --metric Dice"):
        compare(a, b, dataset.folder, metric="HD95")


def test_the_tables_fit_80_columns(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset, lambda scan: number(scan) % 4, scans=ALL[::2])
    predict(b, dataset, lambda scan: number(scan) % 3, scans=ALL[::2])
    for folder in (a, b):
        predict(folder, dataset, lambda scan: number(scan) % 2, scans=ALL[1::2], seen="case")
    found = compare(a, b, dataset.folder)
    rows, scans = (
        shown(tables.class_difference_table(found), 80),
        shown(tables.scan_difference_table(found), 80),
    )

    for text in ("large_bowel", "stomach", "all classes", "unseen cases (9)", "later days", "B - A"):
        assert text in rows
    assert "…" not in rows + scans
    assert f"{found.overall.difference.low:+.3f}, {found.overall.difference.high:+.3f}]" in rows
    assert found.by_scan[0].scan in scans
    assert found.by_scan[-1].scan in scans


def test_the_command_prints_the_verdict_last_and_json_for_programs(
    dataset: Dataset, a: Path, b: Path, monkeypatch, capsys
) -> None:
    predict(a, dataset, lambda _: 1)
    predict(b, dataset)
    predicted.write(a, dataset, "case2_day0", masks=empty(dataset, "case2_day0", 1))
    words = ["compare", str(a), str(b), "--data", str(dataset.folder)]

    assert cli.run_command(words) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1].startswith("B is better: Dice is higher by ")
    assert "case2_day0" in told.out
    assert "has no scores" in told.err
    assert cli.run_command([*words, "--json", "--metric", "hd"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["verdict"] == "B"
    assert found["metric"] == "HD"
    assert found["overall"]["missed"] == [1, 0]
    assert found["overall"]["interval"][1] < 0
    assert set(found["classes"]) == set(tiny.CLASSES)
    assert len(found["by_scan"]) == len(found["scans"]) == 18
    assert found["a"] == {"folder": str(a), "runs": ["tiny"]}


def test_a_users_slip_ends_with_1_and_one_line(dataset: Dataset, a: Path, b: Path, capsys) -> None:
    predict(a, dataset, scans=ALL[:2])
    words = ["compare", str(a), str(b), "--data", str(dataset.folder)]

    assert cli.run_command([*words, "--metric", "dise"]) == 1
    assert "did you mean Dice?" in capsys.readouterr().err
    assert cli.run_command(words) == 1
    assert "no such folder" in capsys.readouterr().err
    assert cli.run_command(["compare", str(a)]) == 2


@pytest.mark.parametrize("metric", ["Dice", "HD", "NSD2", "APL_mm", "kaggle"])
def test_scores_that_lay_there_and_new_ones_of_the_same_masks_are_the_same(
    dataset: Dataset, a: Path, b: Path, metric: str
) -> None:
    for folder in (a, b):
        predict(folder, dataset, lambda scan: number(scan) % 3)
    evaluate(a, dataset.folder, workers=1)
    found = compare(a, b, dataset.folder, metric=metric)

    assert found.a.known
    assert not found.b.known
    assert found.overall.verdict == "same"
    assert {one.difference for one in found.by_scan} == {0}


def test_a_difference_that_rounds_to_nothing_has_no_minus(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset)
    predict(b, dataset, lambda scan: number(scan) % 2)
    found = compare(a, b, dataset.folder)
    tiny_row = dataclasses.replace(
        found.overall, difference=bootstrap.Estimate(-1e-5, -2e-4, 1e-4, 9), verdict="open"
    )
    scans = tuple(dataclasses.replace(one, difference=-1e-9, most_difference=-1e-9) for one in found.by_scan)
    found = dataclasses.replace(found, overall=tiny_row, classes=(tiny_row,), by_scan=scans)

    told = tables.verdict_sentence(found) + shown(tables.class_difference_table(found), 80)
    assert "+0.000 [+0.000, +0.000]" in told
    assert "-0.000" not in told + shown(tables.scan_difference_table(found), 80)


def test_a_refusal_names_every_scan_that_is_missing(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset)
    predict(b, dataset, scans=ALL[:1])

    with pytest.raises(UserError) as caught:
        compare(a, b, dataset.folder)
    assert all(scan in str(caught.value) for scan in ALL[1:])
    notes = compare(a, b, dataset.folder, common=True).notes
    assert any("and 9 more" in note for note in notes)


def test_scans_that_are_not_compared_are_told_in_a_line_a_reason(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset)
    predict(b, dataset, lambda _: 1)
    kept = tuple(one for one in dataset.samples if one.day == 0)
    bare = [one.model_copy(update={"labels": None}) if n < 2 else one for n, one in enumerate(kept)]
    facts = dataset.facts.model_copy(update={"samples": tuple(bare)})
    Dataset(dataset.folder, facts).save()

    notes = [one for one in compare(a, b, dataset.folder).notes if one.startswith("not compared")]

    gone = [name for name in ALL if name.endswith("day1")]
    more = f" and {len(gone) - 8} more" if len(gone) > 8 else ""
    assert sorted(notes) == [
        f"not compared: has no labels: {kept[0].name}, {kept[1].name}",
        f"not compared: not in {dataset.folder}: {', '.join(gone[:8])}{more}",
    ]


def test_two_tools_are_compared_on_one_truth_and_what_they_saw_is_unknown(
    dataset: Dataset, a: Path, b: Path
) -> None:
    predict(a, dataset, lambda _: 1)
    for scan in ALL:
        for name, mask in zip(tiny.CLASSES, dataset.labels(dataset.select_samples(scan)[0]), strict=True):
            write_volume(Volume(mask.astype(np.uint8), tiny.AFFINE), b / scan / f"{name}.nii.gz")
    evaluate(b, dataset.folder, workers=1)
    result = compare(a, b, dataset.folder, options=CompareArguments())

    assert result.overall.verdict == "B"
    assert not any(note.startswith(f"{b}: its scores are out of date") for note in result.notes)
    assert result.b.scorable.runs == ("unknown",)
    assert any(note.startswith("unknown whether B was trained on them: case1_day0") for note in result.notes)
    predict(a, dataset, lambda _: 1, seen="scan")
    with pytest.raises(UserError, match="trained on by A only, left out"):
        compare(a, b, dataset.folder)


def test_scans_that_chose_the_weights_of_a_side_are_told(dataset: Dataset, a: Path, b: Path) -> None:
    predict(a, dataset, scans=ALL[:4])
    predict(b, dataset, scans=ALL[:2], chose_weights=True)
    predict(b, dataset, scans=ALL[2:4])

    found = compare(a, b, dataset.folder)
    assert found.notes[-1] == (
        f"the weights of B were chosen by scans compared, so it is too good: {', '.join(ALL[:2])}"
    )
    assert [row.name for row in found.groups] == ["unseen cases", "unseen cases (they chose the weights)"]

    predict(a, dataset, scans=ALL[:2], chose_weights=True)
    assert compare(a, b, dataset.folder).notes[-1].startswith("both sides' weights were chosen by")
