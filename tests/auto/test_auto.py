"""`volseg train auto`: one command from a prepared dataset and a time to a whole run."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from tests import tiny
from volseg import cli
from volseg.arguments import AutoArguments, InferArguments
from volseg.auto import auto as stage
from volseg.auto.record import AFTER_MOST, PASSES, TUNE_SECONDS, AutoRecord, plan_file, record_file
from volseg.config import config
from volseg.errors import OutputError, UserError
from volseg.evaluation import score_files
from volseg.inference.infer import infer
from volseg.inference.prediction_folder import read_records
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, CALIBRATION, SPLITS, TUNE
from volseg.system.json_files import read_json

pytestmark = pytest.mark.slow

GIVEN = AutoArguments(max_seconds=600.0)


def planned(monkeypatch, *, seconds: float = 0.0, **sections: object) -> list[float | None]:
    """Have `plan` plan the tiny network at once; the times that it was asked for."""
    asked: list[float | None] = []
    made = tiny.config(**sections)

    def plan(options):
        asked.append(options.max_seconds)
        return SimpleNamespace(config=made, estimate=SimpleNamespace(validation_seconds=seconds))

    monkeypatch.setattr(stage, "plan", plan)
    monkeypatch.setattr(stage, "plan_yaml", lambda of, *_: yaml.safe_dump(of.config.to_values()))
    return asked


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[stage.AutoResult, Path]:
    """All stages on 15 cases, of which three are kept apart; and the dataset."""
    folder = tmp_path_factory.mktemp("auto")
    data = tiny.write(folder / "data", cases=15, days=1, exclusive=True).folder
    with pytest.MonkeyPatch.context() as patch:
        planned(patch)
        return stage.auto(replace(GIVEN, data=data, run=folder / "runs" / "one")), data


@pytest.fixture
def calls(trained: Path, monkeypatch) -> list[str]:
    """The stages behind the plan that are called; training copies the tiny run, the others do nothing."""
    called: list[str] = []

    def launch(_config, options):
        called.append("train")
        shutil.copytree(trained, options.run, dirs_exist_ok=True)

    def recorder(name: str):
        return lambda *_, **__: called.append(name)

    planned(monkeypatch)
    monkeypatch.setattr(stage, "launch", launch)
    for name in stage.STAGES[2:]:
        monkeypatch.setattr(stage, name, recorder(name))
    monkeypatch.setattr(stage, "tune", lambda *_, **__: (called.append("tune"), None))
    monkeypatch.setattr(stage, "closing_lines", lambda *_: ())
    return called


def raising(error: BaseException):
    def stopped(*_, **__):
        raise error

    return stopped


def test_one_call_leaves_a_run_with_all_that_the_commands_write(whole) -> None:
    result, _ = whole
    run = Run.open(result.run)

    assert result.record.done == stage.STAGES
    assert not result.record.left_out
    assert run.config.train == config.load(plan_file(result.run)).train
    assert {*score_files.read(result.run)} == {*run.facts.unseen_cases}
    assert len(run.facts.unseen_cases) == 3
    assert all((result.run / name).is_file() for name in (BEST, TUNE, CALIBRATION, "report.html"))
    assert result.report == result.run / "report.html"


def test_masks_are_those_of_infer_with_the_steps_and_the_confidence_found(whole, tmp_path: Path) -> None:
    result, data = whole
    infer(InferArguments(run=(str(result.run),), data=data, out=tmp_path, split="unseen_cases"))

    assert {r.scan: (r.key, r.confidence) for r in read_records(tmp_path)} == {
        r.scan: (r.key, r.confidence) for r in read_records(result.run / "out_of_fold")
    }


def test_a_finished_call_repeated_computes_nothing_anew(whole, tmp_path: Path, monkeypatch) -> None:
    result, data = whole
    for name in ("plan", "launch", "tune", "calibrate", "infer"):
        monkeypatch.setattr(stage, name, None)

    again = stage.auto(AutoArguments(data=data, run=result.run, resume=True))

    assert again.scores.headline.line == result.scores.headline.line


def test_a_stage_that_was_stopped_is_the_next_to_be_done(calls, data, tmp_path, monkeypatch) -> None:
    given = replace(GIVEN, data=data, run=tmp_path / "run")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "infer", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            stage.auto(given)
    begun = read_json(record_file(given.run), AutoRecord)
    assert begun.done == ("plan", "train", "tune", "calibrate")
    assert "infer" in begun.seconds
    calls.clear()
    stage.auto(replace(given, resume=True, max_seconds=None))

    assert [*dict.fromkeys(calls)] == ["infer", "evaluate", "report"]


def test_training_that_was_stopped_goes_on_within_the_same_limit(data, tmp_path, monkeypatch) -> None:
    planned(monkeypatch)
    asked = []

    def stopped(config, options):
        asked.append(options)
        options.run.mkdir(exist_ok=True)
        (options.run / SPLITS).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "launch", stopped)
    given = replace(GIVEN, data=data, run=tmp_path / "run")
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            stage.auto(replace(given, resume=resume))

    assert [one.resume for one in asked] == [False, True]
    assert asked[0].max_seconds == asked[1].max_seconds


def test_what_few_cases_do_not_allow_is_told_and_left_out(calls, data, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(stage, "tune", raising(UserError("run: was validated on scans of 1 case")))
    words = ["--data", str(data), "--run", str(tmp_path / "run"), "--max-time", "10m"]

    assert cli.run_command(["train", "auto", *words]) == 0

    told = capsys.readouterr()
    assert "note: tune was left out: run: was validated on scans of 1 case\n" in told.err
    assert "report.html: scores" in told.out
    assert f"volseg infer --run {tmp_path / 'run'} --input" in told.out
    assert [*dict.fromkeys(calls)] == ["train", "calibrate", "infer", "evaluate", "report"]


@pytest.mark.parametrize("stage_name", ["train", "infer", "report"])
def test_a_stage_that_a_run_needs_ends_the_call(calls, data, tmp_path, monkeypatch, stage_name) -> None:
    name = {"train": "launch"}.get(stage_name, stage_name)
    monkeypatch.setattr(stage, name, raising(UserError("not so")))

    with pytest.raises(UserError, match="not so"):
        stage.auto(replace(GIVEN, data=data, run=tmp_path / "run"))

    assert stage_name not in read_json(record_file(tmp_path / "run"), AutoRecord).done


def test_without_validation_scans_there_is_a_run_and_a_report(data, tmp_path, monkeypatch) -> None:
    planned(monkeypatch, data={"split": "none"}, train={"steps": 1, "epoch_steps": 1})

    result = stage.auto(replace(GIVEN, data=data, run=tmp_path / "run"))

    assert {*result.record.left_out} == {*stage.VALIDATED}
    assert result.scores is None
    assert (tmp_path / "run" / BEST).is_file()
    assert result.report.is_file()


def test_a_full_disk_is_no_reason_to_leave_a_stage_out(calls, data, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(stage, "tune", raising(OutputError("disk full")))

    with pytest.raises(OutputError, match="disk full"):
        stage.auto(replace(GIVEN, data=data, run=tmp_path / "run"))

    assert calls == ["train"]


def test_each_fold_has_a_fifth_of_the_time_for_training(data, tmp_path, monkeypatch) -> None:
    planned_for = planned(monkeypatch)
    asked = []

    def stopped(_config, options):
        asked.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "train_each_fold", stopped)
    given = replace(GIVEN, data=data, run=tmp_path / "run", fold="each")
    with pytest.raises(KeyboardInterrupt):
        stage.auto(given)

    record = read_json(record_file(given.run), AutoRecord)
    assert asked[0].max_seconds == pytest.approx(record.training_seconds / 5)
    assert planned_for == [pytest.approx(asked[0].max_seconds, rel=0.01)]


def test_a_plan_that_took_the_time_is_told_and_made_anew_for_a_longer_one(calls, data, tmp_path) -> None:
    given = replace(GIVEN, data=data, run=tmp_path / "run", max_seconds=10.0)

    with pytest.raises(UserError, match=r"^--max-time: 10 s are too few: planning took "):
        stage.auto(given)
    plan_file(given.run).write_text(plan_file(given.run).read_text() + "# mine\n")
    result = stage.auto(replace(given, resume=True, max_seconds=600.0))

    assert calls[0] == "train"
    assert not plan_file(given.run).read_text().endswith("# mine\n")
    assert result.record.max_seconds == 600


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_seconds": None}, r"^train auto: --max-time is missing: .* e\.g\. --max-time 2h$"),
        ({"data": Path("nowhere")}, r"^nowhere: no dataset\.json"),
        ({"resume": True}, r"auto\.json: missing, so there is nothing to resume; leave out --resume"),
        ({"device": "cuda"}, r"^--device cuda: "),
    ],
)
def test_what_is_wrong_is_told_before_a_plan(data, tmp_path, monkeypatch, changes, told) -> None:
    asked = planned(monkeypatch)

    with pytest.raises(UserError, match=told):
        stage.auto(replace(replace(GIVEN, data=data, run=tmp_path / "run"), **changes))

    assert not asked
    assert not [*tmp_path.iterdir()]


def test_neither_a_run_nor_a_config_is_written_over(data, tmp_path, monkeypatch) -> None:
    asked = planned(monkeypatch)
    given = replace(GIVEN, data=data, run=tmp_path / "run")
    plan_file(given.run).write_text("mine")

    with pytest.raises(UserError, match=r"run\.yaml: exists; pass --resume to go on or --run NAME"):
        stage.auto(given)

    assert not asked
    assert plan_file(given.run).read_text() == "mine"


def test_a_run_goes_on_with_the_same_network_only(calls, data, tmp_path) -> None:
    given = replace(GIVEN, data=data, run=tmp_path / "run")
    stage.auto(given)

    with pytest.raises(UserError, match=r"was begun with --network \w+; resume it with the same$"):
        stage.auto(replace(given, resume=True, network="swinunetr"))


def test_less_time_than_a_run_was_trained_for_is_refused(calls, data, tmp_path) -> None:
    given = replace(GIVEN, data=data, run=tmp_path / "run")
    stage.auto(given)
    record = record_file(given.run).read_text()

    with pytest.raises(
        UserError, match=r"^--max-time: 90 s are less than the 600 s .*; leave it out, or start another "
    ):
        stage.auto(replace(given, resume=True, max_seconds=90.0))
    assert record_file(given.run).read_text() == record


def test_five_folds_of_four_cases_are_refused(tmp_path: Path) -> None:
    data = tiny.write(tmp_path / "data", cases=4, days=1).folder

    with pytest.raises(UserError, match=r"has 4 labelled cases, and five are needed$"):
        stage.auto(replace(GIVEN, data=data, run=tmp_path / "run", fold="each"))


@hypothesis.given(st.floats(60, 1e6), st.floats(0, 1e4), st.floats(0, 0.5))
def test_plan_training_and_the_rest_are_the_whole_time(whole_time, validation, planning) -> None:
    record = AutoRecord(
        data=Path("d"), network="unet", fold=0, max_seconds=whole_time, validation_seconds=validation,
        seconds={"plan": planning * whole_time},
    )  # fmt: skip
    rest = whole_time - planning * whole_time - record.training_seconds

    assert rest <= max(AFTER_MOST * whole_time, TUNE_SECONDS) * (1 + 1e-9)
    assert rest >= min(PASSES * validation, AFTER_MOST * whole_time) * (1 - 1e-9)
    assert math.isclose(record.seconds_left, (1 - planning) * whole_time)
