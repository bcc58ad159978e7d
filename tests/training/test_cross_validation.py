import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from volseg import cli
from volseg.arguments import InferArguments, TrainArguments
from volseg.data.dataset import Dataset
from volseg.data.volume_files import read, write_volume
from volseg.errors import UserError
from volseg.inference.infer import infer
from volseg.postprocessing import Threshold
from volseg.runs import locate as runs
from volseg.runs.folds import FILE, NAMES, FinishedFolds
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, SPLITS
from volseg.system.locks import folder_lock
from volseg.system.log_file import log_to
from volseg.training import cross_validation as stage
from volseg.training.cross_validation import CrossValidationResult, train_each_fold
from volseg.training.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory) -> CrossValidationResult:
    folder = tmp_path_factory.mktemp("runs") / "five"
    return train_each_fold(tiny.config(), TrainArguments(data=data, run=folder))


@pytest.fixture
def five(done: CrossValidationResult, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(done.run, tmp_path / "five"))


@pytest.fixture
def three(five: Path) -> Path:
    """The run as it is when it was stopped in its fourth fold."""
    finished = FinishedFolds.read(five).finished
    FinishedFolds(finished={name: finished[name] for name in NAMES[:3]}).write(five)
    shutil.rmtree(five / NAMES[4])
    for name in ("out_of_fold", "scores.csv", "summary.json"):
        shutil.rmtree(five / name) if (five / name).is_dir() else (five / name).unlink()
    return five


def splits(run: Path) -> dict:
    return json.loads((run / SPLITS).read_text())


def trainings(monkeypatch) -> list[TrainArguments]:
    """The trainings that are begun from now on."""
    begun: list[TrainArguments] = []

    def spy(config, options):
        begun.append(options)
        return train(config, options)

    monkeypatch.setattr(stage, "launch", spy)
    return begun


def test_two_trainings_of_five_folds_refuse_each_other(data: Path, tmp_path: Path) -> None:
    with folder_lock(tmp_path / "five"), pytest.raises(UserError, match="another `volseg train` is training"):
        train_each_fold(tiny.config(), TrainArguments(data=data, run=tmp_path / "five"))


def test_a_finished_fold_whose_labels_changed_is_told(five: Path, data: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data, tmp_path / "data")
    scan = splits(five / "fold0")["train"][0]
    other = splits(five / "fold0")["unseen_cases"][0]
    shutil.copyfile(copy / f"labels/{other}/stomach.nii.gz", copy / f"labels/{scan}/stomach.nii.gz")

    with pytest.raises(UserError, match=f"fold0: can't be resumed .*the labels of {scan}"):
        train_each_fold(tiny.config(), TrainArguments(data=copy, run=five, resume=True))


def test_every_fold_is_a_whole_run_of_its_own(done: CrossValidationResult, data: Path, tmp_path) -> None:
    alone = train(tiny.config(), TrainArguments(data=data, run=tmp_path / "alone", fold=3)).run

    assert [splits(done.run / name)["fold"] for name in NAMES] == [0, 1, 2, 3, 4]
    assert (done.run / "fold3" / BEST).read_bytes() == (alone / BEST).read_bytes()
    assert {path.name for path in alone.iterdir()} == {path.name for path in (done.run / "fold3").iterdir()}
    assert {ended.steps for ended in done.folds.values()} == {12}


def test_every_scan_is_scored_once_by_the_fold_that_saw_nothing_of_its_case(
    done: CrossValidationResult, data: Path
) -> None:
    labelled = {sample.name for sample in Dataset.load(data).samples}
    records = json.loads((done.run / "out_of_fold" / "predictions.json").read_text())

    assert Counter(record["scan"] for record in records) == Counter(labelled)
    for record in records:
        fold = splits(done.run / record["run"].removeprefix("five/"))
        case = record["scan"].rsplit("_day", 1)[0]
        assert record["scan"] in fold["unseen_cases"]
        assert not any(name.startswith(f"{case}_") for name in fold["train"])
    assert list(done.scores.groups) == ["unseen cases (they chose the weights)"]
    assert set(done.scores.headline.scans) == labelled


def test_the_summary_holds_all_scans_together_and_each_fold(done: CrossValidationResult) -> None:
    summary = json.loads((done.run / "summary.json").read_text())
    lines = (done.run / "scores.csv").read_text().splitlines()

    assert list(summary["by_run"]) == [f"five/{name}" for name in NAMES]
    parts = [(len(fold["scans"]), fold["mean"]["stomach"]["Dice"]) for fold in summary["by_run"].values()]
    weighted = np.average([dice for _, dice in parts], weights=[scans for scans, _ in parts])
    assert summary["mean"]["stomach"]["Dice"] == pytest.approx(weighted, abs=1e-6)
    assert sum(scans for scans, _ in parts) == len({line.split(",")[0] for line in lines[1:]}) == 18


def test_finished_folds_are_not_trained_again_and_the_others_go_on_bit_for_bit(
    done: CrossValidationResult, three: Path, data: Path, monkeypatch
) -> None:
    begun = trainings(monkeypatch)

    again = train_each_fold(tiny.config(), TrainArguments(data=data, run=three, resume=True))

    assert [(one.run.name, one.fold, one.resume) for one in begun] == [
        ("fold3", 3, True), ("fold4", 4, False),
    ]  # fmt: skip
    for name in NAMES:
        assert (three / name / BEST).read_bytes() == (done.run / name / BEST).read_bytes()
    assert (three / "scores.csv").read_bytes() == (done.run / "scores.csv").read_bytes()
    assert list(again.folds) == list(NAMES)


def test_a_run_stopped_in_its_first_fold_goes_on(data: Path, tmp_path: Path, monkeypatch) -> None:
    def stopped(config, options):
        train(config, options)
        raise KeyboardInterrupt

    options = TrainArguments(data=data, run=tmp_path / "r")
    with monkeypatch.context() as patched:
        patched.setattr(stage, "launch", stopped)
        with pytest.raises(KeyboardInterrupt):
            train_each_fold(tiny.config(), options)
    with pytest.raises(UserError, match=r"r: no fold is finished; go on with .* --resume"):
        infer(InferArguments(run=(str(tmp_path / "r"),), data=data, all=True))
    begun: list[TrainArguments] = []

    def spy(config, options):
        begun.append(options)
        if options.fold == 1:
            raise KeyboardInterrupt
        return train(config, options)

    monkeypatch.setattr(stage, "launch", spy)
    with pytest.raises(KeyboardInterrupt):
        train_each_fold(tiny.config(), replace(options, resume=True))

    assert [(one.fold, one.resume) for one in begun] == [(0, True), (1, False)]
    assert list(FinishedFolds.read(tmp_path / "r").finished) == ["fold0"]


def test_another_time_limit_is_passed_on_to_folds_that_were_finished(
    five: Path, data: Path, monkeypatch
) -> None:
    begun = trainings(monkeypatch)

    train_each_fold(tiny.config(), TrainArguments(data=data, run=five, resume=True, max_seconds=600.0))
    train_each_fold(tiny.config(), TrainArguments(data=data, run=five, resume=True, max_seconds=600.0))

    assert [(one.run.name, one.max_seconds) for one in begun] == [(n, 600.0) for n in NAMES]


def test_finished_folds_whose_steps_were_tuned_stay_as_they_are(
    five: Path, data: Path, tmp_path: Path, monkeypatch
) -> None:
    steps = (Threshold(value=0.3),)
    for name in NAMES:
        Run.open(five / name).replace_postprocess(steps)
    begun = trainings(monkeypatch)
    listed = tiny.config().model_copy(update={"postprocess": (Threshold(),)})

    with log_to(tmp_path / "told.txt"):
        train_each_fold(listed, TrainArguments(data=data, run=five, resume=True))

    assert begun == []
    told = (tmp_path / "told.txt").read_text()
    assert told.count(": keeps its own steps, which are not those of the config") == len(NAMES)
    assert {Run.open(five / name).config.postprocess for name in NAMES} == {steps}


def test_resuming_with_other_settings_or_scans_is_refused(five: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fold0: can't be resumed .*optimizer\.lr \(0\.01 then"):
        train_each_fold(tiny.config(optimizer={"lr": 0.02}), TrainArguments(data=data, run=five, resume=True))
    more = tiny.write(tmp_path / "more", cases=7).folder
    with pytest.raises(UserError, match=r"fold0: can't be resumed .*splits\.json differs"):
        train_each_fold(tiny.config(), TrainArguments(data=more, run=five, resume=True))


def test_what_is_no_run_of_five_is_refused_and_left_as_it_is(five: Path, data: Path, tmp_path: Path) -> None:
    options = TrainArguments(data=data, run=five)
    with pytest.raises(UserError, match="five: exists; pass --resume to go on or --run NAME"):
        train_each_fold(tiny.config(), options)
    with pytest.raises(UserError, match="fold0: is the run of one fold; start another"):
        train_each_fold(tiny.config(), replace(options, run=five / "fold0", resume=True))
    with pytest.raises(UserError, match="new: nothing to resume, fold0 is missing"):
        train_each_fold(tiny.config(), replace(options, run=tmp_path / "new", resume=True))
    with pytest.raises(UserError, match="split is none, so there are no folds"):
        train_each_fold(tiny.config(data={"split": "none"}), replace(options, run=tmp_path / "new"))
    with pytest.raises(UserError, match=r"five: holds 5 runs; name one, e\.g\. .*five/fold0"):
        train(tiny.config(), replace(options, resume=True))

    assert not (tmp_path / "new").exists()


def test_a_run_of_five_predicts_by_the_mean_of_all(
    done: CrossValidationResult, data: Path, tmp_path: Path
) -> None:
    wanted = InferArguments(data=data, case=("case2",))
    named = tuple(str(done.run / name) for name in NAMES)

    whole = infer(replace(wanted, run=(str(done.run),), out=tmp_path / "whole"))
    each = infer(replace(wanted, run=named, out=tmp_path / "each"))

    assert str(whole.ensemble) == f"{done.run} (mean of 5 networks)"
    assert {(one.run, one.seen, one.fold_set) for one in whole.records} == {("five", "scan", "train")}
    assert [one.key for one in whole.records] == [one.key for one in each.records]
    assert not any("not finished" in note for note in whole.notes)
    with pytest.raises(UserError, match=r"no scan in unseen_cases; .* is in .*five/out_of_fold"):
        infer(InferArguments(run=(str(done.run),), data=data, split="unseen_cases"))
    for one in whole.records:
        file = f"{one.scan}/stomach.nii.gz"
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "each" / file).read_bytes()


def test_with_three_of_five_finished_these_predict_and_the_others_are_named(
    three: Path, data: Path, tmp_path: Path
) -> None:
    wanted = InferArguments(data=data, case=("case2_day0",))
    named = tuple(str(three / name) for name in NAMES[:3])

    found = infer(replace(wanted, run=(str(three),), out=tmp_path / "found"))
    expected = infer(replace(wanted, run=named, out=tmp_path / "expected"))

    assert found.records[0].key == expected.records[0].key
    assert any("not finished: fold3, fold4; predicted by the other 3" in n for n in found.notes)
    assert not any("not finished" in note for note in expected.notes)


def test_the_newest_run_may_be_one_of_five(three: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(three, "runs/five")
    shutil.copytree(three / "fold0", "runs/single")
    for run, name, hour in (("single", ".", 2), ("five", "fold0", 1), ("five", "fold2", 3)):
        os.utime(Path("runs", run, name, BEST), (3600 * hour, 3600 * hour))
    for name in ("fold1", "fold3"):  # fold3 is not finished, so its weights do not count
        os.utime(Path("runs/five", name, BEST), (0, 0) if name == "fold1" else (10**9, 10**9))

    assert runs.find_run(None) == Path("runs/five")
    os.utime("runs/single/best.safetensors", (3600 * 4, 3600 * 4))
    assert runs.find_run(None) == Path("runs/single")
    assert runs.find_run("five/fold1") == Path("runs/five/fold1")


def test_a_damaged_list_of_folds_is_named(five: Path, data: Path) -> None:
    (five / FILE).write_text('{"finished": {"fold0": {"steps": "many"}}}')

    with pytest.raises(UserError, match=r"folds\.json: .*steps"):
        infer(InferArguments(run=(str(five),), data=data, all=True))


def test_each_by_the_command_line_prints_the_scores_of_all_and_of_each(
    five: Path, data: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(tiny.config().model_dump_json())
    words = ["train", "tiny.yaml", "--data", str(data), "--run", str(five), "--fold", "each"]

    assert cli.run_command(words) == 1
    assert "exists; pass --resume" in capsys.readouterr().err
    mask = next((five / "out_of_fold").glob("*/stomach.nii.gz"))
    write_volume(read(mask).with_voxels(np.ones(tiny.SHAPE, np.uint8)), mask)
    assert cli.run_command([*words, "--resume"]) == 0

    told, noted = capsys.readouterr()
    assert f"note: {mask.parent.name}: corrected by hand after it was predicted: stomach" in noted
    assert "unseen cases (they chose the weights): 18 scans of 6 cases" in " ".join(told.split())
    assert all(f"five/{name}" in told for name in NAMES)
    assert f"{five}: 5 folds in " in told
    assert "out-of-fold Dice " in told.splitlines()[-1]
    assert told.splitlines()[-1].endswith("; 18 unseen scans (they chose the weights)")


def test_folds_are_not_trained_by_several_ranks_at_once(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(UserError, match="start it by itself with --devices N, not by torchrun"):
        train_each_fold(tiny.config(), TrainArguments(data=data, run=tmp_path / "r"))

    assert not (tmp_path / "r").exists()
