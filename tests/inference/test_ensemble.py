import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests import tiny
from volseg.arguments import InferArguments, TrainArguments
from volseg.errors import UserError
from volseg.inference.ensemble import Ensemble
from volseg.inference.infer import infer
from volseg.inference.prediction_folder import read_record
from volseg.inference.run_settings import mask_settings
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.folds import FinishedFolds, FoldOutcome
from volseg.runs.run_files import CONFIG, SPLITS
from volseg.training.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory) -> dict[str, Path]:
    """Runs of two folds, and one on another grid."""
    folder = tmp_path_factory.mktemp("runs")
    coarse = tiny.config(data={"spacing_mm": [2.0, 2.0, 2.0]}, train={"seed": 2})
    return {
        "a": train(tiny.config(), TrainArguments(data=data, run=folder / "a", fold=0)).run,
        "b": train(tiny.config(), TrainArguments(data=data, run=folder / "b", fold=1)).run,
        "coarse": train(coarse, TrainArguments(data=data, run=folder / "coarse", fold=0)).run,
    }


@pytest.fixture
def copies(trained: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """The same, to be changed."""
    return {name: Path(shutil.copytree(run, tmp_path / name)) for name, run in trained.items()}


@pytest.fixture
def wanted(data: Path, tmp_path: Path) -> InferArguments:
    return InferArguments(data=data, out=tmp_path / "out", case=("case3_day1",))


def by(*runs: Path) -> tuple[str, ...]:
    return tuple(str(run) for run in runs)


def masks(out: Path, scan: str = "case3_day1") -> list[bytes]:
    return [(out / scan / f"{organ}.nii.gz").read_bytes() for organ in tiny.CLASSES]


def splits(run: Path) -> dict:
    return json.loads((run / SPLITS).read_text())


def change(run: Path, name: str, value: object) -> None:
    (run / SPLITS).write_text(json.dumps({**splits(run), name: value}))


def test_a_run_averaged_with_its_copy_predicts_what_it_predicts_alone(
    trained: dict[str, Path], copies: dict[str, Path], wanted: InferArguments, tmp_path: Path
) -> None:
    infer(replace(wanted, run=by(trained["a"]), out=tmp_path / "alone"))

    infer(replace(wanted, run=by(trained["a"], copies["a"])))

    assert masks(wanted.out) == masks(tmp_path / "alone")


def test_two_runs_on_one_grid_are_averaged_in_either_order(
    trained: dict[str, Path], wanted: InferArguments, tmp_path: Path
) -> None:
    a, b = trained["a"], trained["b"]
    for name, runs in {"a": [a], "b": [b], "ab": [a, b], "ba": [b, a]}.items():
        infer(replace(wanted, all=True, case=(), run=by(*runs), out=tmp_path / name))

    found = {
        name: [masks(tmp_path / name, f"case{case}_day0") for case in range(1, 7)]
        for name in ("a", "b", "ab", "ba")
    }
    assert found["ab"] == found["ba"]
    assert found["ab"] not in (found["a"], found["b"])


def test_weights_are_told_and_decide_whose_probabilities_count(
    trained: dict[str, Path], wanted: InferArguments, tmp_path: Path
) -> None:
    a, b = map(str, by(trained["a"], trained["b"]))
    found = {}
    for name, runs in {
        "a": (a,),
        "plain": (a, b),
        "alike": (f"{a}=2", f"{b}=2"),
        "a_most": (f"{a}=0.9999999", f"{b}=1e-7"),
        "ab": (f"{a}=0.7", f"{b}=0.3"),
        "ba": (f"{b}=3", f"{a}=7"),
    }.items():
        infer(replace(wanted, run=runs, out=tmp_path / name, save_probabilities=True))
        found[name] = masks(tmp_path / name), maps(tmp_path / name)

    record = read_record(tmp_path / "ab" / "case3_day1")
    assert record
    assert record.run_weights == {a: 0.7, b: 0.3}
    assert found["alike"] == found["plain"]
    assert found["ab"][1] == found["ba"][1]
    assert found["ab"] not in (found["plain"], found["a"])
    assert found["a_most"][0] == found["a"][0]


def maps(out: Path, scan: str = "case3_day1") -> list[bytes]:
    return [(out / scan / f"{organ}_probability.nii.gz").read_bytes() for organ in tiny.CLASSES]


def test_without_weights_the_key_of_a_prediction_holds_none(trained: dict[str, Path]) -> None:
    a, b = by(trained["a"], trained["b"])
    loaded = {
        names: Ensemble.open(names).load(InferArguments())
        for names in ((a, b), (f"{a}=1", f"{b}=1"), (f"{a}=1", f"{b}=3"), (f"{a}=2", f"{b}=6"))
    }
    plain, alike, uneven, same = (one.settings for one in loaded.values())

    kinds = [network.kind for network in loaded[a, b].networks]
    assert plain == [*map(mask_settings, loaded[a, b].runs, kinds)]
    assert len(alike) == len(uneven) == 3
    assert uneven == same != alike


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("=0", "=1", "=0: 0 is no weight; give a number above 0"),
        ("=-0.5", "=1", "=-0.5: -0.5 is no weight"),
        ("=nan", "=1", "=nan: nan is no weight"),
        ("=inf", "=1", "=inf: inf is no weight"),
        ("=", "=1", "=: nothing is no weight"),
        ("=half", "=1", "=half: half is no weight"),
        ("=0.6", "", "b: no weight, though "),
    ],
)
def test_wrong_weights_are_told_in_one_line(
    trained: dict[str, Path], first: str, second: str, text: str
) -> None:
    names = (f"{trained['a']}{first}", f"{trained['b']}{second}")

    with pytest.raises(UserError) as caught:
        Ensemble.open(names)

    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_may_have_an_equals_sign_in_its_name(copies: dict[str, Path]) -> None:
    a, b = copies["a"].rename(copies["a"].parent / "lr=0.1"), copies["b"]

    plain, weighted = Ensemble.open(by(a, b)), Ensemble.open((f"{a}=3", f"{b}=1"))

    assert (plain.folders, plain.weights) == ((a, b), ())
    assert (weighted.folders, weighted.shares) == ((a, b), (0.75, 0.25))
    assert str(weighted) == f"0.75 {a} + 0.25 {b} (weighted mean of 2 networks)"


def test_the_folds_of_a_run_share_its_weight(copies: dict[str, Path], tmp_path: Path) -> None:
    five = tmp_path / "five"
    five.mkdir()
    for number, name in enumerate(("a", "b")):
        copies[name].rename(five / f"fold{number}")
    outcome = FoldOutcome(steps=1, best=None, seconds=1.0, max_seconds=None)
    FinishedFolds(finished={"fold0": outcome, "fold1": outcome}).write(five)

    weighted = Ensemble.open((f"{five}=0.6", f"{copies['coarse']}=0.4"))

    assert weighted.shares == pytest.approx((0.3, 0.3, 0.4))
    assert str(weighted).startswith(f"0.6 {five} + 0.4 ")
    assert weighted.first_runs(2).shares == pytest.approx((0.5, 0.5))
    assert Ensemble.open((f"{five}=0.6",)).weights == ()


def test_a_run_on_another_grid_takes_part(
    trained: dict[str, Path], wanted: InferArguments, tmp_path: Path
) -> None:
    done = infer(replace(wanted, run=by(trained["a"], trained["coarse"])))

    assert done.records[0].status == "done"
    assert str(done.ensemble).endswith("coarse (mean of 2 networks)")


def test_the_record_names_all_runs_and_the_most_that_any_saw(
    trained: dict[str, Path], wanted: InferArguments
) -> None:
    a, b = trained["a"], trained["b"]
    done = infer(replace(wanted, all=True, case=(), run=by(a, b)))

    found = {record.scan: record for record in done.records}
    assert {record.run for record in done.records} == {"a + b"}
    for scan, record in found.items():
        sets = ("train", "later_days", "unseen_cases")
        expected = next(name for name in sets if any(scan in splits(run)[name] for run in (a, b)))
        assert (record.fold_set, record.seen == "scan") == (expected, expected == "train")
    assert any("were themselves trained on by one or more of a + b" in note for note in done.notes)


def test_masks_are_made_again_when_any_member_changes(
    copies: dict[str, Path], wanted: InferArguments, trained: dict[str, Path]
) -> None:
    wanted = replace(wanted, run=by(copies["a"], copies["b"]))
    first = infer(wanted).records[0]
    assert infer(wanted).records[0].seconds == first.seconds  # not done again

    weights = (trained["a"] / "best.safetensors").read_bytes()
    (copies["b"] / "best.safetensors").write_bytes(weights)
    second = infer(wanted).records[0]
    assert len({first.key, second.key}) == len({first.weights, second.weights}) == 2

    text = (copies["b"] / CONFIG).read_text()
    (copies["b"] / CONFIG).write_text(text.replace("overlap: 0.5", "overlap: 0.25"))
    third = infer(wanted).records[0]
    assert third.weights == second.weights
    assert third.key != second.key


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("classes", ["stomach", "large_bowel"], "has the classes stomach, large_bowel (there "),
        ("channels", ["ct"], "has the channels ct (there mr)"),
        ("exclusive", True, "its classes exclude each other (there may overlap)"),
    ],
)
def test_runs_that_mean_other_things_are_refused(
    copies: dict[str, Path], wanted: InferArguments, name: str, value: object, text: str
) -> None:
    change(copies["b"], name, value)

    with pytest.raises(UserError) as caught:
        infer(replace(wanted, run=by(copies["a"], copies["b"])))

    assert f"{copies['b']}: can't be averaged with {copies['a']}: " in str(caught.value)
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not wanted.out.exists()


def test_a_run_named_twice_is_refused(trained: dict[str, Path], wanted: InferArguments) -> None:
    roundabout = trained["b"] / ".." / "a"

    with pytest.raises(UserError, match=r"a: named twice; name each run once"):
        infer(replace(wanted, run=by(trained["a"], trained["b"], roundabout)))


def test_the_first_runs_postprocess_is_applied_and_told_where_others_differ(
    copies: dict[str, Path], wanted: InferArguments, tmp_path: Path
) -> None:
    (copies["b"] / POSTPROCESS).write_text("- {name: threshold, value: 1.0}\n")
    text = (copies["a"] / POSTPROCESS).read_text()
    (copies["coarse"] / POSTPROCESS).write_text(f"# the same steps, told otherwise\n{text}")

    told = infer(replace(wanted, run=by(copies["a"], copies["b"])))
    strict = infer(replace(wanted, run=by(copies["b"], copies["a"]), out=tmp_path / "strict"))
    alike = infer(replace(wanted, run=by(copies["a"], copies["coarse"]), out=tmp_path / "alike"))

    a, b = copies["a"] / POSTPROCESS, copies["b"] / POSTPROCESS
    assert f"{a}: its steps are applied; those of {b} differ" in told.notes
    assert f"{b}: its steps are applied; those of {a} differ" in strict.notes
    assert not any("other steps" in note for note in alike.notes)
    assert masks(wanted.out) != masks(tmp_path / "strict")


def test_of_an_old_run_the_config_is_named_as_what_tells_its_steps(
    copies: dict[str, Path], wanted: InferArguments
) -> None:
    (copies["b"] / POSTPROCESS).unlink()
    with (copies["b"] / CONFIG).open("a") as file:
        file.write("postprocess: [threshold]\n")

    told = infer(replace(wanted, run=by(copies["a"], copies["b"]))).notes

    a, b = copies["a"] / POSTPROCESS, copies["b"] / CONFIG
    assert f"{a}: its steps are applied; those of {b} differ" in told


def test_a_set_that_other_members_trained_on_is_empty_and_says_why(
    trained: dict[str, Path], wanted: InferArguments
) -> None:
    a, b = trained["a"], trained["b"]
    both = set(splits(a)["train"]) | set(splits(b)["train"])
    assert set(splits(a)["unseen_cases"]) <= both

    with pytest.raises(UserError, match=r"no scan in unseen_cases; .*of several runs, the one that"):
        infer(replace(wanted, case=(), split="unseen_cases", run=by(a, b)))
    found = infer(replace(wanted, case=(), split="train", run=by(a, b)))
    assert {record.scan for record in found.records} == both
