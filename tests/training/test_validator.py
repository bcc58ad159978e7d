"""Validation beside training, against validation for which training waits."""

import csv
import signal
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests import tiny
from volseg.arguments import TrainArguments
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, LAST, METRICS
from volseg.system import signals
from volseg.training import loop, validation_thread
from volseg.training.train import build_training, load_and_split, train
from volseg.training.training import Training
from volseg.training.validation import RankScores, Validation
from volseg.training.validator import Validator

pytestmark = pytest.mark.slow

TIMES = {"seconds", "steps_per_second", "waiting", "validating"}
COURSE = {"steps": 20, "epoch_steps": 4}


def prepared(data: Path, folder: Path, *, beside: bool, **settings: object) -> Training:
    """A training of five epochs that is about to begin."""
    config = tiny.config(train={**COURSE, **settings})
    dataset, facts = load_and_split(config, data, 0)
    return replace(build_training(Run.create(folder, config, facts), dataset), beside=beside)


def rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / METRICS).read_text().splitlines()))


def untimed(run: Path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows(run)]


def steps_validated(run: Path) -> list[int]:
    return [int(row["step"]) for row in rows(run)]


def last(run: Path) -> dict:
    return torch.load(run / LAST, weights_only=True)


@pytest.fixture
def held(monkeypatch) -> threading.Event:
    """Validations in a thread predict nothing until this is set."""
    go, real = threading.Event(), Validation._predict

    def predict(self, scan):
        if threading.current_thread() is not threading.main_thread():
            assert go.wait(60)
        return real(self, scan)

    monkeypatch.setattr(Validation, "_predict", predict)
    return go


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory) -> Path:
    """A run whose validations were all waited for."""
    run = tmp_path_factory.mktemp("whole") / "r"
    loop.train_until_done(prepared(data, run, beside=False))
    return run


def test_beside_training_it_hardly_keeps_training_waiting(data: Path, tmp_path: Path, monkeypatch) -> None:
    """Five epochs, each with a validation as long; the first and last are waited for."""
    waited = {False: 0.0, True: 0.0}
    validate = Validator.validate

    def score(self, _after_each):
        time.sleep(0.8)
        return RankScores({name: [0.5, 0.5] for name in self.sets.unseen_cases + self.sets.later_days})

    def timed(self, times, *, ending):
        began = time.monotonic()
        validate(self, times, ending=ending)
        waited[self.training.beside] += time.monotonic() - began

    monkeypatch.setattr(Validation, "score_own_scans", score)
    monkeypatch.setattr(Validator, "validate", timed)
    for beside in waited:
        training = prepared(data, tmp_path / str(beside), beside=beside)
        loop.train_until_done(replace(training, on_step=lambda _step, _loss: time.sleep(0.2)))

    assert waited[True] < 0.75 * waited[False]
    shares = {beside: [float(row["validating"]) for row in rows(tmp_path / str(beside))] for beside in waited}
    assert min(shares[False]) > max(shares[True][1:4])


def test_a_validation_that_would_take_the_time_of_training_is_left_to_the_last_step(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    """Steps of a quarter of a second and a validation of a minute, in a run of a hundred seconds."""
    now, real = [0.0], Validation._predict

    def predict(self, scan):
        now[0] += 60 / scans
        return real(self, scan)

    def on_step(_step: int, _loss: float) -> None:
        now[0] += 0.25

    monkeypatch.setattr("volseg.training.stopping.time.monotonic", lambda: now[0])
    monkeypatch.setattr(Validation, "_predict", predict)
    training = prepared(data, tmp_path / "r", beside=False, steps=100_000, epoch_steps=None)
    scans = len(training.run.facts.unseen_cases) + len(training.run.facts.later_days)
    training.clock.started, training.clock.limit = 0.0, 100.0

    loop.train_until_done(replace(training, on_step=on_step))

    (row,) = rows(tmp_path / "r")
    assert int(row["step"]) == last(tmp_path / "r")["step"] > 50
    assert 40 <= float(row["seconds"]) <= 41
    assert (tmp_path / "r" / BEST).is_file()


def test_a_validation_that_is_late_scores_the_weights_of_its_own_step(
    data: Path, tmp_path: Path, whole: Path, held: threading.Event
) -> None:
    """That of step 8 is not done before step 11, and its row is written when it is."""
    run, seen = tmp_path / "r", {}

    def on_step(step: int, _loss: float) -> None:
        seen[step] = steps_validated(run) if (run / METRICS).is_file() else []
        if step == 11:
            held.set()

    loop.train_until_done(replace(prepared(data, run, beside=True), on_step=on_step))

    assert seen[10] == [4]
    assert seen[13][:2] == [4, 8]
    assert untimed(run) == untimed(whole)
    assert (run / BEST).read_bytes() == (whole / BEST).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drops_what_is_unfinished_and_the_run_goes_on_from_its_step(
    data: Path, tmp_path: Path, whole: Path, monkeypatch, number: signal.Signals
) -> None:
    run, dropped = tmp_path / "r", threading.Event()
    real = Validation._predict

    def slow(self, scan):
        if threading.current_thread() is not threading.main_thread():
            dropped.wait(0.3)
        return real(self, scan)

    def on_step(step: int, _loss: float) -> None:
        if step == 9:
            signal.raise_signal(number)

    with monkeypatch.context() as patched:
        patched.setattr(Validation, "_predict", slow)
        with pytest.raises(signals.Stopped):
            loop.train_until_done(replace(prepared(data, run, beside=True), on_step=on_step))
    stopped = last(run)
    assert (steps_validated(run), len(stopped["losses"])) == ([4], stopped["step"] - 4)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("validation")]

    train(tiny.config(train=COURSE), TrainArguments(data=data, run=run, resume=True))

    one, other = last(run), last(whole)
    assert steps_validated(run) == [4, 12, 16, 20]
    assert [row["epoch"] for row in rows(run)] == ["1", "2", "3", "4"]
    for name in ("network", "average"):
        assert all(torch.equal(value, one[name][key]) for key, value in other[name].items())
    assert untimed(run)[-1]["score"] == untimed(whole)[-1]["score"]


def test_when_time_is_up_it_is_waited_for_and_the_last_step_is_validated(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "r"
    training = prepared(data, run, beside=True)

    def on_step(step: int, _loss: float) -> None:
        if step == 9:
            training.clock.end()

    loop.train_until_done(replace(training, on_step=on_step))

    assert steps_validated(run) == [4, 8, last(run)["step"]]


def test_patience_that_ends_beside_training_ends_it_after_one_more_validation(
    data: Path, tmp_path: Path, monkeypatch, held: threading.Event
) -> None:
    """The scores of steps 8 and 12 are no better than that of step 4; that of step 12 comes late."""
    scores = iter([0.5, 0.4, 0.4, 0.3])
    monkeypatch.setattr(Validation, "gather_scores", lambda *_args: {"score": next(scores)})
    run = tmp_path / "r"
    held.set()

    loop.train_until_done(prepared(data, run, beside=True, patience=2))

    assert steps_validated(run)[:3] == [4, 8, 12]
    assert last(run)["step"] == steps_validated(run)[-1] < 20


def test_a_device_that_was_short_of_memory_validates_while_training_waits(
    data: Path, tmp_path: Path, whole: Path, monkeypatch
) -> None:
    threads: list[str] = []
    real = Validation.score_own_scans

    def noted(self, after_each):
        threads.append(threading.current_thread().name)
        return real(self, after_each)

    retries = iter(range(100))
    monkeypatch.setattr(validation_thread, "allocation_retries", lambda _device: next(retries))
    monkeypatch.setattr(Validation, "score_own_scans", noted)

    loop.train_until_done(prepared(data, tmp_path / "r", beside=True))

    assert threads == ["MainThread"] * 5
    assert untimed(tmp_path / "r") == untimed(whole)


def test_a_thread_that_fails_ends_training_with_its_error(data: Path, tmp_path: Path, monkeypatch) -> None:
    real = Validation._predict

    def breaks(self, scan):
        if threading.current_thread() is not threading.main_thread():
            raise OSError("the disk is gone")
        return real(self, scan)

    monkeypatch.setattr(Validation, "_predict", breaks)

    with pytest.raises(OSError, match="the disk is gone"):
        loop.train_until_done(prepared(data, tmp_path / "r", beside=True))


def test_an_open_schedule_validates_the_last_step_and_goes_on_with_what_was_measured(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    """With time for every one of them, and one after each second step."""
    monkeypatch.setattr("volseg.training.validation_schedule.EVERY", 2)
    monkeypatch.setattr("volseg.training.validation_schedule.FIRST", 4)
    monkeypatch.setattr("volseg.training.validation_schedule.SHARE", 1e9)
    config = tiny.config(train={"steps": 9, "epoch_steps": None})

    train(config, TrainArguments(data=data, run=tmp_path / "r"))

    assert steps_validated(tmp_path / "r") == [4, 6, 8, 9]
    assert len(last(tmp_path / "r")["validation_seconds"]) == 4


def test_a_thread_beside_training_stays_on_the_gpu_of_its_rank(monkeypatch) -> None:
    """A new thread begins on the first GPU; when its stream ends it would make a context of its own there."""
    gpu, calls = torch.device("cuda", 1), []
    stream = SimpleNamespace(wait_stream=lambda _other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _own: calls.append("stream") or nullcontext())
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda device: calls.append((device, threading.current_thread()))
    )
    validation = SimpleNamespace(score_own_scans=lambda _after_each: threading.current_thread())

    with validation_thread.ValidationThread(validation, gpu) as thread:
        thread.begin()
        beside = thread.result()

    assert calls == [(gpu, beside), "stream"]
    assert beside is not threading.main_thread()
