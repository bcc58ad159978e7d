"""A run that goes on: by the overrides that it was begun with, or for more steps."""

import csv
import json
from pathlib import Path

import pytest

import volseg
from tests import tiny
from volseg import cli
from volseg.runs.config_files import CONFIG, POSTPROCESS
from volseg.runs.run import Run
from volseg.runs.run_files import METRICS

pytestmark = pytest.mark.slow


def learning_rates() -> dict[int, float]:
    rows = csv.DictReader(Path("runs/r", METRICS).read_text().splitlines())
    return {int(row["step"]): float(row["lr"]) for row in rows}


@pytest.fixture
def here(data: Path, tmp_path: Path, monkeypatch) -> list[str]:
    """A folder with a config, and the words that train by it in two steps, which are an override."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(json.dumps(tiny.config().to_values()))
    return ["train", "tiny.yaml", "--data", str(data), "--run", "r"]


def test_a_resume_needs_none_of_the_overrides_and_refuses_another_by_name(here: list[str], capsys) -> None:
    begun = ["optimizer.lr=0.02", "train.steps=8", "train.epoch_steps=4"]
    assert cli.run_command([*here, *begun]) == 0
    before = (Path("runs/r") / CONFIG).read_bytes()

    assert cli.run_command([*here, "--resume"]) == 0
    assert "runs/r: 8 steps" in capsys.readouterr().out
    assert cli.run_command([*here, "--resume", "optimizer.lr=0.02"]) == 0
    assert cli.run_command([*here, "--resume", "optimizer.lr=0.03"]) == 1
    assert "other settings: optimizer.lr (0.02 then, 0.03 now); use those" in capsys.readouterr().err
    assert cli.run_command([*here, "--resume", "train.steps=4"]) == 1
    assert "train.steps (8 then, 4 now)" in capsys.readouterr().err
    assert cli.run_command([*here, "--resume", "network.channels=[4,8]", "train.batch=1"]) == 1
    err = capsys.readouterr().err
    assert "network.channels ((8, 16) then, (4, 8) now), train.batch (2 then, 1 now)" in err
    assert (Path("runs/r") / CONFIG).read_bytes() == before


def test_a_config_file_that_changed_since_is_refused_by_what_changed(here: list[str], capsys) -> None:
    assert cli.run_command([*here, "train.steps=4"]) == 0
    Path("tiny.yaml").write_text(json.dumps(tiny.config(optimizer={"lr": 0.5}).to_values()))

    assert cli.run_command([*here, "--resume"]) == 1

    assert "other settings: optimizer.lr (0.01 then, 0.5 now);" in capsys.readouterr().err


def test_a_finished_run_is_extended_and_its_log_tells_the_schedule(here: list[str], capsys) -> None:
    assert cli.run_command([*here, "train.steps=8"]) == 0
    Path("runs/r", POSTPROCESS).write_text("- fill_holes\n")
    rates = learning_rates()

    assert cli.run_command([*here, "train.steps=16", "--resume"]) == 0
    assert "runs/r: 16 steps" in capsys.readouterr().out

    log = Path("runs/r/log.txt").read_text()
    assert "extended from 8 to 16 steps: the learning rate is now that of a run of 16 steps" in log
    rate = tiny.config().optimizer.rate
    assert learning_rates() == pytest.approx({**rates, 12: rate(11 / 16), 16: rate(15 / 16)}, rel=1e-3)
    assert f"at step 8 it is {rate(0.5):.2g} in place of {rate(1.0):.2g}, and falls until step 16" in log
    assert Run.open(Path("runs/r")).config.train.steps == 16
    assert Path("runs/r", POSTPROCESS).read_text() == "- fill_holes\n"
    assert cli.run_command([*here, "--resume"]) == 0  # it is finished, as a run of 16
    assert "runs/r: 16 steps" in capsys.readouterr().out
    by_api = volseg.train("tiny.yaml", here[3], "r", resume=True, overrides=["train.steps=20"])
    assert by_api.config.train.steps == 20
