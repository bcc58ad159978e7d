import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from tests import tiny
from volseg import arguments, cli
from volseg.arguments import PlanArguments, PrepareArguments, TrainArguments
from volseg.cli.app import COMMANDS as COMMAND_GROUPS
from volseg.cli.app import app
from volseg.errors import UserError
from volseg.model.engines import device_selection
from volseg.training import train as training

COMMANDS = [
    "prepare",
    "plan",
    "train",
    "calibrate",
    "infer",
    "export",
    "evaluate",
    "compare",
    "submit",
    "demo",
    "phantom",
    "options",
]
MODULES = {
    "prepare": "volseg.preparation.prepare",
    "plan": "volseg.planning.plan",
    "train": "volseg.training.train",
    "calibrate": "volseg.calibration.calibrate",
    "infer": "volseg.inference.infer",
    "export": "volseg.export.export",
    "evaluate": "volseg.evaluation.evaluate",
    "compare": "volseg.evaluation.comparison.compare",
    "submit": "volseg.inference.submit",
    "demo": "volseg.demo",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """An empty folder to work in, with a tiny prepared dataset and a config."""
    tiny.write(tmp_path / "data" / "prepared")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny.config().model_dump(mode="json")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys) -> str:
    return capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys) -> None:
    assert cli.run_command([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"volseg {command}" in out
    assert len(out.splitlines()) > 4


@pytest.mark.parametrize("option", ["--shard", "--max-time", "--max-memory", "--device"])
def test_an_option_with_a_value_of_its_own_form_is_shown_as_it_is_typed(option: str, capsys) -> None:
    cli.run_command(["infer", "--help"])
    out = capsys.readouterr().out
    assert f"{option} STR" in out
    assert f"{option}." not in out


@pytest.mark.parametrize(
    "words",
    [["trane"], ["train"], ["infer", "--casse", "x"], ["phantom", "x", "--cases", "many"],
     ["train", "demo", "--fold", "7"], ["infer", "--split", "nowhere"]],
)  # fmt: skip
def test_wrong_usage_is_2_and_one_line(words: list[str], capsys) -> None:
    assert cli.run_command(words) == 2
    assert len(said(capsys).splitlines()) == 1


def test_a_dataset_without_its_option_is_told_the_option(here: Path, capsys) -> None:
    assert cli.run_command(["plan", "data/prepared"]) == 2
    assert said(capsys) == (
        "volseg: data/prepared: stands behind no option's name; a dataset is named by --data data/prepared "
        "(see volseg plan --help)\n"
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["prepare", "nowhere"], "nowhere: no such folder"),
        (["train", "configs/unett.yaml"], "did you mean configs/unet.yaml?"),
        (["train", "demo", "--data", "nowhere"], "nowhere: no dataset.json"),
        (["train", "demo", "--max-time", "soon"], "--max-time: 'soon' is no time"),
        (["plan", "--max-memory", "lots"], "expected e.g. 800MB, 8GB or 12GiB"),
        (["plan", "--max-time", "soon"], "--max-time: 'soon' is no time"),
        (["plan", "--data", "nowhere"], "nowhere: no dataset.json"),
        (["plan", "--out", "tiny.yaml"], "--out tiny.yaml: exists"),
        (["train", "demo", "--dry-run", "--data", "nowhere"], "nowhere: no dataset.json"),
        (["train", "demo", "optimizer.learning_rate=1"], "optimizer.learning_rate: unknown key"),
        (["train", "demo", "train.patch=[50,64,32]"], "not divisible by the stride"),
        (["infer", "--all"], "runs: no finished run"),
        (["infer"], "one of --case, --all, --split and --input"),
        (["infer", "--all", "--case", "case1"], "one of --case, --all, --split and --input"),
        (["infer", "--all", "--max-memory", "2"], "--max-memory: '2' is no amount of memory"),
        (["infer", "--all", "--overlap", "0.95"], "--overlap: 0.95 is no share from 0 to 0.94"),
        (["calibrate"], "runs: no finished run"),
        (["calibrate", "nowhere"], "nowhere: no such run"),
        (["evaluate", "nowhere"], "nowhere"),
        (["submit", "nowhere"], "nowhere"),
        (["options", "netwrk"], "did you mean network?"),
        (["infer", "--input", os.fsdecode(b"l\xe4nge.nii.gz")], "the name is not UTF-8; rename it"),
        (
            ["train", "tiny.yaml", "--device", "gpu"],
            "--device: 'gpu' is no device; expected cpu, cuda, cuda:1",
        ),
        (["train", "tiny.yaml", "--device", "cuda"], "--device cuda: torch "),
        (["train", "tiny.yaml", "--dry-run", "--device", "cuda:1"], "--device cuda:1: torch "),
        (["train", "tiny.yaml", "--devices", "2", "--device", "cuda:1"], "--device cuda:1 is one device"),
        (["plan", "--device", "mps"], "--device mps: there is none"),
        (["demo", "--device", "cuda"], "--device cuda: torch "),
        (["prepare", "nowhere", "--out", os.fsdecode(b"\xe4")], "the name is not UTF-8; rename it"),
        (["stats", "nowhere", "--out", "tiny.yaml"], "nowhere: no dataset.json"),
    ],
)
def test_a_users_mistake_is_1_and_no_traceback(here: Path, capsys, words: list[str], text: str) -> None:
    before = sorted(here.rglob("*"))

    assert cli.run_command(words) == 1

    err = said(capsys)
    assert text in err
    assert "Traceback" not in err
    assert sorted(here.rglob("*")) == before


def test_train_and_infer_by_the_command_line(here: Path, capsys) -> None:
    assert cli.run_command(["train", "tiny.yaml", "--run", "one", "train.steps=4"]) == 0
    assert "runs/one: 4 steps" in capsys.readouterr().out
    assert cli.run_command(["train", "tiny.yaml", "--run", "one", "train.steps=4"]) == 1
    assert "runs/one: exists; pass --resume" in said(capsys)

    assert cli.run_command(["infer", "--case", "case1"]) == 0
    assert "predictions/one/prepared: 3 of 3 scans by runs/one" in capsys.readouterr().out

    (here / "data/prepared/images/case2_day0.nii.gz").write_bytes(b"junk")
    assert cli.run_command(["infer", "--case", "case2"]) == cli.SOME_FAILED
    assert "failed: case2_day0: " in said(capsys)


@pytest.mark.parametrize("command", ["infer", "tune", "calibrate", "export"])
def test_a_run_is_predicted_on_the_device_that_is_named(
    here: Path, trained: Path, capsys, command: str
) -> None:
    shutil.copytree(trained, "runs/one")
    words = {"infer": ["--all"], "export": ["runs/one", "--format", "torch"]}
    before = sorted(here.rglob("*"))

    assert cli.run_command([command, *words.get(command, []), "--device", "cuda:1"]) == 1

    assert said(capsys).splitlines()[-1].startswith("volseg: --device cuda:1: torch ")
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("words", [["train", "tiny.yaml"], ["train", "tiny.yaml", "--dry-run"], ["plan"]])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_gpu_that_will_not_be_used_is_told_before_anything_takes_time(
    here: Path, capsys, monkeypatch, words, device
) -> None:
    device_selection.warn_of_unused_gpu.cache_clear()
    monkeypatch.setattr(device_selection, "has_gpu", lambda: True)

    cli.run_command([*words, "--data", "nowhere", *(["--device", device] if device else [])])

    device_selection.warn_of_unused_gpu.cache_clear()
    err = " ".join(said(capsys).split())
    assert err.count("there seems to be a GPU, but the work is done on the CPU") == (device is None)


OUT_OF_MEMORY = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("CUDNN_STATUS_ALLOC_FAILED")]


@pytest.mark.parametrize("where", ["volseg.training.step.Stepper.accumulate_gradients",
                                   "volseg.inference.predictor.Predictor.predict_probabilities"])  # fmt: skip
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_out_of_memory_in_training_is_1_and_one_line(here: Path, capsys, monkeypatch, where, error) -> None:
    def fail(*_args: object) -> None:
        raise error

    monkeypatch.setattr(where, fail)

    assert cli.run_command(["train", "tiny.yaml", "train.steps=2"]) == 1

    err = said(capsys)
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("volseg: cpu: out of memory; a step takes less with train.accum")


def test_an_unknown_case_names_the_nearest(here: Path, capsys) -> None:
    cli.run_command(["train", "tiny.yaml", "train.steps=4"])
    assert cli.run_command(["infer", "--case", "case1", "case11"]) == 1
    assert "case11: no such case or scan in data/prepared, did you mean case1" in said(capsys)


@pytest.mark.parametrize("command", list(MODULES))
def test_ctrl_c_in_any_stage_is_130_and_says_how_to_go_on(
    here: Path, capsys, monkeypatch, command: str
) -> None:
    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{MODULES[command]}.{command}", interrupted)
    given = {
        "train": ["tiny.yaml"],
        "infer": ["--all"],
        "export": ["a"],
        "compare": [".", "b"],
        "evaluate": ["a"],
        "submit": ["a"],
    }
    words = given.get(command, [])

    assert cli.run_command([command, *words]) == 130

    assert "stopped; run the command again" in said(capsys)


def test_our_own_faults_keep_their_traceback(here: Path, monkeypatch) -> None:
    def broken(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(training, "train", broken)

    with pytest.raises(ZeroDivisionError):
        cli.run_command(["train", "tiny.yaml"])


def test_help_is_in_groups_with_what_is_used_most_first(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    assert cli.run_command(["--help"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"╭─ ([\w ]+) ─", out) == list(COMMAND_GROUPS)
    shown = re.findall(r"^│ (\w+) ", out, re.M)
    assert shown[:8] == ["prepare", "stats", "train", "plan", "tune", "calibrate", "export", "infer"]

    assert cli.run_command(["infer", "--help"]) == 0
    out = capsys.readouterr().out
    groups = ["What", "By what", "Output", "Quality and time", "Machine", "Odd input"]
    assert re.findall(r"╭─ ([\w ]+) ─", out) == groups
    assert "[default: False]" not in out
    assert "[default: None]" not in out
    assert "folders of DICOM (MR, CT). Of several" in " ".join(out.replace("│", " ").split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_shell_completes_commands_options_and_choices(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(app.generate_completion(shell="bash"))  # noqa: S604
    ask = """
    source "$1"; shift
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _volseg; echo "${COMPREPLY[@]}"
    """

    def completed(*words: str) -> list[str]:
        command = ["bash", "-c", ask, "-", str(script), "volseg", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert completed("ca") == ["calibrate"]
    assert completed("infer", "--sp") == ["--split"]
    assert completed("infer", "--split", "") == ["unseen_cases", "later_days", "hold_out", "train", "test"]


def test_options_lists_the_sections_of_a_config(capsys) -> None:
    for section in ("data", "augment", "train", "inference"):
        assert cli.run_command(["options", section]) == 0
    out = capsys.readouterr().out
    assert out.startswith("data:\n  spacing_mm = null\n")
    assert "  overlap = 0.5  # of neighbouring windows\n" in out
    assert "  flip = []  # axes that are mirrored" in out


def test_options_lists_every_kind(capsys) -> None:
    assert cli.run_command(["options"]) == 0
    out = capsys.readouterr().out
    for word in ("unet", "swinunetr", "dice_ce", "adamw", "percentiles", "threshold", "gi-tract", "openvino"):
        assert f"  {word}: " in out
    assert "      min_mm3 = (required) (worth trying: 200, 500, 1000, 2000, 5000)\n" in out


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["train", "demo"], TrainArguments(run=Path("runs"), fold=0, max_seconds=None)),
        (["train", "demo", "--run", "a", "--fold", "3"], TrainArguments(run=Path("runs/a"), fold=3)),
        (["train", "demo", "--run", "./a", "--fold", "each"], TrainArguments(run=Path("a"), fold="each")),
        (
            ["train", "demo", "--fold", "all", "--max-time", "30m"],
            TrainArguments(fold="all", max_seconds=1800),
        ),
        (["plan", "--max-memory", "8GB"], PlanArguments(max_memory=8 * 10**9, max_seconds=None)),
        (["prepare", "raw", "--classes", "a", "b"], PrepareArguments(classes=("a", "b"))),
    ],
)
def test_options_hold_what_the_code_needs(words: list[str], options: object) -> None:
    _, bound, _ = app.parse_args(words, exit_on_error=False)

    assert bound.kwargs.get("options", type(options)()) == options


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400)])
def test_times_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert arguments.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["30", "m", "0m", "-3m", "1d"])
def test_a_time_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no time"):
        arguments.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("800MB", 8 * 10**8), ("8GB", 8 * 10**9), ("1.5 gb", 15 * 10**8), ("2GiB", 2**31), ("1T", 10**12)],
)
def test_memory_is_read_with_its_unit(text: str, count: int) -> None:
    assert arguments.parse_memory(text) == count


@pytest.mark.parametrize("text", ["8", "GB", "0GB", "-1GB", "8kB", "8GBs"])
def test_memory_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no amount of memory"):
        arguments.parse_memory(text)


@pytest.mark.slow
def test_a_signal_while_training_ends_quietly_and_the_run_can_be_resumed(here: Path) -> None:
    command = [sys.executable, "-m", "volseg", "train", "tiny.yaml"]
    settings = ["train.steps=100000", "train.epoch_steps=5", "train.workers=1"]
    process = subprocess.Popen(
        [*command, *settings], stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    deadline = time.monotonic() + 120
    while not (here / "runs/tiny/last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]

    assert process.returncode == 130
    assert "Traceback" not in err
    assert not list(here.rglob(".partial-*"))
    again = subprocess.run(
        [*command, *settings, "--resume", "--max-time", "1s"], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
