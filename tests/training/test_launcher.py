import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml
from torch.distributed.elastic.multiprocessing import ProcessFailure
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from tests import tiny
from volseg.arguments import TrainArguments
from volseg.errors import UserError
from volseg.runs.run_files import BEST, LAST
from volseg.system import signals
from volseg.training import launcher as devices
from volseg.training.launcher import RankOutcome, launch
from volseg.training.result import TrainingResult

pytestmark = pytest.mark.slow

TRAIN = ["volseg", "train", "tiny.yaml", "--data", "data"]
ENDLESS = ["train.steps=1000000", "train.epoch_steps=10"]
MODULES = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a tiny prepared dataset and a config."""
    tiny.write(tmp_path / "data")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny.config().model_dump(mode="json")))
    return tmp_path


def start(here: Path, words: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(MODULES), **environment},
    )


def begun(here: Path, name: str) -> subprocess.Popen[str]:
    """Two ranks that train for ever and have saved an epoch."""
    process = start(here, [*TRAIN, "--devices", "2", "--run", name, *ENDLESS])
    while not (here / "runs" / name / LAST).is_file() and process.poll() is None:
        time.sleep(0.1)
    return process


def rank_of(launcher: int, number: int) -> psutil.Process:
    return next(
        child for child in psutil.Process(launcher).children() if child.environ().get("RANK") == str(number)
    )


@pytest.fixture(autouse=True)
def two_cores(monkeypatch) -> None:
    monkeypatch.setattr(devices, "machine_cores", lambda: 2)


def options(folder: Path, count: int) -> TrainArguments:
    return TrainArguments(data=folder / "data", run=folder / "r", devices=count)


needs_two_cores = pytest.mark.usefixtures("all_cores")


@needs_two_cores
def test_two_devices_by_the_command_line(here: Path) -> None:
    process = start(here, [*TRAIN, "--devices", "2"])
    out, err = process.communicate(timeout=300)

    assert process.returncode == 0, err
    assert out.count("\n") == 1
    assert "runs/tiny: 12 steps" in out
    assert "training unet on 2 x " in err
    assert err.count("epoch 1 ") == 1
    assert (here / "runs/tiny" / BEST).is_file()

    again = start(here, [*TRAIN, "--devices", "2"])
    _, err = again.communicate(timeout=300)
    told = "volseg: runs/tiny: exists; pass --resume to go on or --run NAME to start another"
    assert (again.returncode, err.strip()) == (1, told)


@needs_two_cores
@pytest.mark.parametrize("number", [0, 1])
def test_a_rank_that_is_killed_ends_the_run(here: Path, number: int) -> None:
    process = begun(here, "r")
    rank_of(process.pid, number).kill()
    _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert f"volseg: rank {number} of 2 was killed by SIGKILL" in err
    assert "go on from the last checkpoint with --resume" in err
    assert "Traceback" not in err


@needs_two_cores
@pytest.mark.parametrize("to_rank", [None, 1])
def test_a_signal_to_the_command_or_a_rank_ends_all_with_everything_saved(
    here: Path, to_rank: int | None
) -> None:
    process = begun(here, "r")
    pid = process.pid if to_rank is None else rank_of(process.pid, to_rank).pid
    os.kill(pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert err.count("which is saved; go on with --resume") == 1
    assert err.splitlines()[-1].startswith("volseg: stopped; run the command again to go on")


@needs_two_cores
def test_ranks_end_when_the_command_is_killed_and_another_number_of_devices_goes_on(here: Path) -> None:
    process = begun(here, "r")
    pair = [rank_of(process.pid, number) for number in (0, 1)]
    process.kill()

    _, alive = psutil.wait_procs(pair, timeout=60)

    assert not alive

    words = [*TRAIN, "--run", "r", *ENDLESS, "--resume", "--max-time", "1s"]
    _, err = (again := start(here, words)).communicate(timeout=300)
    assert again.returncode == 0, err
    assert re.search(r" [1-9]\d* of 1000000 steps done", err)


def test_torchrun_has_it_join(here: Path) -> None:
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    process = start(here, [*torchrun, *TRAIN])
    out, err = process.communicate(timeout=300)

    assert process.returncode == 0, err
    assert out.count("runs/tiny: 12 steps") == 1
    assert "training unet on 2 x " in err


def test_the_tasks_of_a_slurm_step_join(here: Path) -> None:
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost"}
    pair = [
        start(here, TRAIN, **step, SLURM_PROCID=n, SLURM_LOCALID=n, MASTER_PORT=str(port)) for n in ("0", "1")
    ]
    told = [process.communicate(timeout=300) for process in pair]

    assert [process.returncode for process in pair] == [0, 0], told
    assert "runs/tiny: 12 steps" in told[0][0]
    assert told[1][0] == ""


def test_more_gpus_than_there_are_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(devices.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices.cuda, "device_count", lambda: 4)

    with pytest.raises(UserError, match=r"--devices 5: this machine lends 4 GPUs; give .* 1 to 4"):
        launch(tiny.config(), options(tmp_path, 5))


def test_on_the_cpu_by_name_cores_count_and_not_gpus(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(devices.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices.cuda, "device_count", lambda: 1 << 20)

    with pytest.raises(UserError, match=rf"--devices {1 << 20}: this machine lends \d+ cores"):
        launch(tiny.config(), replace(options(tmp_path, 1 << 20), device="cpu"))


@pytest.mark.parametrize("count", [0, 3])
def test_more_processes_than_cores_and_none_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match=f"--devices {count}: this machine lends 2 cores"):
        launch(tiny.config(), options(tmp_path, count))


def test_devices_within_torchrun_must_be_as_many_as_its_ranks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")

    with pytest.raises(UserError, match=r"--devices 2: this is one of 4 ranks .* leave --devices"):
        launch(tiny.config(), options(tmp_path, 2))


def judged(folder: Path, *outcomes: RankOutcome | None, exitcode: int = 0, asked: int | None = None):
    for number, outcome in enumerate(outcomes):
        if outcome is not None:
            (folder / f"{number}.json").write_text(outcome.model_dump_json())
    failure = ProcessFailure(local_rank=1, pid=1, exitcode=exitcode, error_file="none")
    failed = ChildFailedError("volseg", {1: failure}) if exitcode else None
    return devices._RankLauncher(folder, 2, folder / "run", failed=failed)._result_or_raise(asked)


def test_the_first_rank_s_result_is_the_run_s(tmp_path: Path) -> None:
    pair = [TrainingResult(tmp_path, 12, 0.5, 3.0, rank) for rank in range(2)]

    assert judged(tmp_path, *(RankOutcome(trained=one) for one in pair)) == pair[0]


def test_a_mistake_explains_a_rank_that_failed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^scan7: zero bytes$"):
        judged(tmp_path, None, RankOutcome(mistake="scan7: zero bytes"), exitcode=1)


def test_a_fault_of_ours_leaves_its_traceback_in_the_run(tmp_path: Path) -> None:
    trace = "Traceback (most recent call last):\n  ...\nZeroDivisionError: division by zero\n"

    with pytest.raises(UserError, match="rank 1 of 2 failed: ZeroDivisionError: division by zero"):
        judged(tmp_path, None, RankOutcome(fault=trace), exitcode=1)

    assert (tmp_path / "run" / devices.FAILED).read_text() == trace


@pytest.mark.parametrize(
    ("exitcode", "text"),
    [
        (-9, r"rank 1 of 2 was killed by SIGKILL \(often for want of memory"),
        (-11, "rank 1 of 2 was killed by SIGSEGV, so the others ended too; go on .* --resume"),
        (7, "rank 1 of 2 ended with exit code 7, so"),
    ],
)
def test_a_rank_that_left_no_word_is_told_by_how_it_ended(tmp_path, exitcode, text) -> None:
    with pytest.raises(UserError, match=text):
        judged(tmp_path, None, None, exitcode=exitcode)


def test_a_rank_that_a_signal_reached_before_it_could_heed_it_is_no_failure(tmp_path: Path) -> None:
    with pytest.raises(signals.Stopped) as stop:
        judged(tmp_path, None, None, exitcode=-15, asked=signal.SIGTERM)

    assert stop.value.number == signal.SIGTERM
