import csv
import gzip
import itertools
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import tiny
from volseg import cli
from volseg.arguments import TrainArguments
from volseg.config.config import Config, validate_values
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume
from volseg.data.volume_files import read, write_volume
from volseg.errors import OutputError, UserError
from volseg.model.losses import DiceCE
from volseg.model.optimizers import AdamW
from volseg.postprocessing import FillHoles, KeepLargest, Threshold
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, CONFIG, LAST, METRICS, SPLITS
from volseg.system import signals
from volseg.system.locks import LOCK, folder_lock
from volseg.system.log_file import log_to
from volseg.training import compilation, loop, loss_scale
from volseg.training.loss_scale import LossScale
from volseg.training.state import TrainingState
from volseg.training.stopping import TrainingClock
from volseg.training.train import build_training, choose_algorithms, load_and_split, train
from volseg.training.validation import Validation

pytestmark = pytest.mark.slow

TIMES = {"seconds", "steps_per_second", "waiting", "validating"}


def weights(run: Path) -> bytes:
    return (run / BEST).read_bytes()


def last(run: Path) -> dict:
    return torch.load(run / LAST, weights_only=True)


@pytest.fixture
def begun(trained: Path, data: Path, tmp_path: Path) -> TrainArguments:
    """Options that go on with a copy of a run on a copy of its data."""
    run, copy = shutil.copytree(trained, tmp_path / "r"), shutil.copytree(data, tmp_path / "data")
    return TrainArguments(data=copy, run=run, resume=True)


def test_a_run_holds_all_that_is_promised(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names >= {
        "config.yaml", "postprocess.yaml", "splits.json", BEST, LAST, METRICS, "log.txt", "tensorboard",
    }  # fmt: skip
    rows = list(csv.DictReader((trained / METRICS).read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    assert float(rows[-1]["score"]) == pytest.approx(
        (float(rows[-1]["unseen_cases"]) + float(rows[-1]["later_days"])) / 2, abs=1e-4
    )
    assert last(trained)["best"] == max(float(row["score"]) for row in rows)
    assert list((trained / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("limit", "end"),
    [(None, r"the other 11 steps take about \S+ s"), (0.5, r"--max-time ends .* about \S+ s")],
)
def test_the_log_tells_the_pace_once_before_the_first_epoch_ends(
    data: Path, tmp_path: Path, monkeypatch, limit: float | None, end: str
) -> None:
    monkeypatch.setattr(loop, "PACE_SECONDS", 0.0)
    steps = {"steps": 12, "epoch_steps": 4} if limit is None else {"steps": 10**6, "epoch_steps": 10**6}
    run = train(
        tiny.config(train=steps), TrainArguments(data=data, run=tmp_path / "r", max_seconds=limit)
    ).run

    log = (run / "log.txt").read_text()
    assert len(re.findall(rf"\S+ s a step: {end}, validation apart", log)) == 1
    assert log.index("s a step") < log.index("epoch 1 ")


def test_one_seed_gives_identical_weights(data: Path, trained: Path, tmp_path: Path) -> None:
    for name, workers in (("b", 0), ("c", 2)):
        train(tiny.config(train={"workers": workers}), TrainArguments(data=data, run=tmp_path / name))
    train(tiny.config(train={"seed": 1}), TrainArguments(data=data, run=tmp_path / "d"))

    assert torch.are_deterministic_algorithms_enabled()
    assert weights(trained) == weights(tmp_path / "b")
    state, other = last(trained)["network"], last(tmp_path / "c")["network"]
    assert all(torch.equal(value, other[name]) for name, value in state.items())
    assert weights(trained) != weights(tmp_path / "d")


@pytest.mark.parametrize("network", ["unet", "dynunet"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    data: Path, tmp_path: Path, monkeypatch, network: str
) -> None:
    config = _with_network(network)
    train(config, TrainArguments(data=data, run=tmp_path / "whole"))
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_train_step", _signals_at(6, signal.SIGTERM))
        with pytest.raises(signals.Stopped):
            train(config, TrainArguments(data=data, run=tmp_path / "parts"))
    assert last(tmp_path / "parts")["step"] == 6  # the middle of its second epoch

    train(config, TrainArguments(data=data, run=tmp_path / "parts", resume=True))

    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_a_run_goes_on_bit_for_bit_with_other_threads_and_another_cache(
    data: Path, trained: Path, tmp_path: Path, monkeypatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_train_step", _signals_at(6, signal.SIGTERM))
        with pytest.raises(signals.Stopped):
            train(tiny.config(), TrainArguments(data=data, run=tmp_path / "parts"))

    others = tiny.config(train={"workers": 2, "checkpoint_minutes": 60}, data={"cache": "memory"})
    train(others, TrainArguments(data=data, run=tmp_path / "parts", resume=True))

    assert_same(trained, tmp_path / "parts")
    told = (tmp_path / "parts" / "log.txt").read_text()
    assert "goes on with another train.workers (0 then, 2 now)" in told
    assert "goes on with another data.cache (auto then, memory now)" in told


def test_a_run_stopped_while_it_validates_is_validated_when_it_goes_on(
    data: Path, trained: Path, tmp_path: Path, monkeypatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Validation, "_predict", _kills(Validation._predict, signal.SIGINT))
        with pytest.raises(signals.Stopped):
            train(tiny.config(), TrainArguments(data=data, run=tmp_path / "parts"))
    assert (last(tmp_path / "parts")["step"], last(tmp_path / "parts")["rows"]) == (4, [])

    train(tiny.config(), TrainArguments(data=data, run=tmp_path / "parts", resume=True))

    assert_same(trained, tmp_path / "parts")


def test_hooks_follow_each_step_and_each_validation_and_change_nothing(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    dataset, facts = load_and_split(tiny.config(), data, 0)
    training = build_training(Run.create(tmp_path / "r", tiny.config(), facts), dataset)
    steps, scores = [], []
    hooks = {"on_step": lambda *args: steps.append(args), "on_validation": scores.append}

    loop.train_until_done(replace(training, **hooks))

    rows = last(tmp_path / "r")["rows"]
    assert [step for step, _ in steps] == list(range(1, 13))
    assert rows[0]["loss"] == round(sum(loss for _, loss in steps[:4]) / 4, 5)
    assert [one["score"] for one in scores] == [row["score"] for row in rows]
    assert weights(tmp_path / "r") == weights(trained)


def test_the_log_says_which_score_it_tells(trained: Path) -> None:
    line = r"epoch 1 \(step \d+\): loss \d+\.\d{4}, mean Dice of unseen_cases \d\.\d{4}"

    assert re.search(line, (trained / "log.txt").read_text())


def test_a_signal_while_a_checkpoint_is_written_leaves_a_whole_one(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(torch, "save", _kills(torch.save, signal.SIGTERM))

    with pytest.raises(signals.Stopped):
        train(tiny.config(), TrainArguments(data=data, run=tmp_path / "r"))

    monkeypatch.undo()
    assert last(tmp_path / "r")["step"] == 5  # the epoch's checkpoint is at 4, the last one a step on
    assert train(tiny.config(), TrainArguments(data=data, run=tmp_path / "r", resume=True)).steps == 12


def test_a_run_killed_at_any_moment_leaves_a_loadable_checkpoint(data: Path, tmp_path: Path) -> None:
    """SIGKILL and SIGTERM at random moments of a run that does little but save."""
    (tmp_path / "c.yaml").write_text(
        "network: {name: unet, channels: [8, 16]}\n"
        "data: {split: none}\n"
        "train: {patch: [16, 16, 8], steps: 100000, epoch_steps: 100000, workers: 0,"
        " checkpoint_minutes: 1.0e-9}\n"
    )
    words = ["train", str(tmp_path / "c.yaml"), "--data", str(data), "--run", str(tmp_path / "r")]
    forked = multiprocessing.get_context("forkserver")
    draw, steps = random.Random(0), [0]
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        process = forked.Process(target=cli.main, args=([*words, *(["--resume"] if steps[1:] else [])],))
        process.start()
        wait_for(tmp_path / "r" / LAST, newer_than=time.time())
        time.sleep(draw.uniform(0, 0.3))
        os.kill(process.pid, number)
        process.join()
        steps.append(last(tmp_path / "r")["step"])

        assert process.exitcode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    assert all(one < other for one, other in pairwise(steps))


def test_checkpoints_go_by_the_clock_on_which_ranks_agree(data: Path, tmp_path: Path, monkeypatch) -> None:
    """So all ranks wait for the same step's loss; one that is no number is noticed by all at once."""
    steps, saved = [], []
    save = loop.save_state
    monkeypatch.setattr(loop, "_report_progress", lambda *_: steps.append(len(steps)))
    monkeypatch.setattr(TrainingClock, "seconds_spent", lambda _: 70.0 * len(steps))  # 5 minutes: 5 steps
    monkeypatch.setattr(loop, "save_state", lambda one: (saved.append(one.state.step), save(one)))

    config = tiny.config(train={"epoch_steps": 12}, data={"split": "none"})
    train(config, TrainArguments(data=data, run=tmp_path / "r"))

    assert saved[:2] == [5, 10]


def wait_for(path: Path, *, newer_than: float) -> None:
    while not path.is_file() or path.stat().st_mtime < newer_than:
        time.sleep(0.01)


def assert_same(one: Path, other: Path) -> None:
    """Two runs are equal bit for bit in all but the times they took."""
    assert weights(one) == weights(other)
    first, second = last(one), last(other)
    assert torch.equal(first["random"], second["random"])
    for name in ("network", "average"):
        assert all(torch.equal(value, second[name][key]) for key, value in first[name].items())
    for left, right in zip(
        first["optimizer"]["state"].values(), second["optimizer"]["state"].values(), strict=True
    ):
        assert all(torch.equal(left[key], right[key]) for key in left)
    untimed = [[{k: v for k, v in row.items() if k not in TIMES} for row in state["rows"]]
               for state in (first, second)]  # fmt: skip
    assert untimed[0] == untimed[1]


def _with_network(name: str) -> Config:
    networks = {
        "unet": {"name": "unet", "channels": [8, 16], "dropout": 0.2},
        "dynunet": {"name": "dynunet", "filters": [4, 8, 8], "deep_supervision": True},
    }
    values = {**tiny.config().model_dump(mode="json"), "network": networks[name]}
    return validate_values(values, name)


def _signals_at(count: int, number: signal.Signals, *, spoil: int = 0):
    """The real step, with a signal to this process in the midst of the `count`-th.

    The gradient of the `spoil`-th is infinite.
    """
    calls = itertools.count(1)
    real = loop._train_step

    def step(training, *args):
        call = next(calls)
        if call == count:
            signal.raise_signal(number)
        weight = next(training.state.network.parameters())
        factor = torch.inf if call == spoil else 1.0
        hook = weight.register_hook(lambda gradient: gradient * factor)
        real(training, *args)
        hook.remove()

    return step


def _kills(real, number: signal.Signals):
    """The real function, with a signal to this process before its first call does its work."""
    calls = itertools.count()

    def function(*args, **kwargs):
        if next(calls) == 0:
            signal.raise_signal(number)
        return real(*args, **kwargs)

    return function


def test_training_on_everything_has_no_validation_and_keeps_the_last_weights(
    data: Path, tmp_path: Path
) -> None:
    config = tiny.config(data={"split": "none", "hold_out": ["case1"]}, train={"ema": 0})

    done = train(config, TrainArguments(data=data, run=tmp_path / "r"))

    facts = Run.open(done.run).facts
    assert done.best is None
    assert len(facts.train) == 15
    assert set(facts.hold_out) == {"case1_day0", "case1_day1", "case1_day2"}
    best, state = Run.open(done.run).load_network().state_dict(), last(done.run)["network"]
    assert all(torch.equal(value, best[name]) for name, value in state.items())


def test_time_that_runs_out_ends_the_run_with_the_learning_rate_down(data: Path, tmp_path: Path) -> None:
    config = tiny.config(train={"steps": 100_000, "epoch_steps": 100_000})

    done = train(config, TrainArguments(data=data, run=tmp_path / "r", max_seconds=2.0))

    rows = list(csv.DictReader((done.run / METRICS).read_text().splitlines()))
    assert 2 <= done.seconds < 20
    assert float(rows[-1]["lr"]) < 0.1 * config.optimizer.lr


def test_an_existing_run_is_not_touched_without_resume(data: Path, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match=r"r: exists; pass --resume to go on or --run NAME"):
        train(tiny.config(), TrainArguments(data=data, run=tmp_path / "r"))

    assert [path.name for path in (tmp_path / "r").iterdir()] == ["notes.txt"]


def test_a_run_that_died_before_it_saved_anything_is_resumed_from_its_start(
    data: Path, trained: Path, tmp_path: Path, monkeypatch
) -> None:
    def dies(*_args: object) -> None:
        raise OSError("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_train_step", dies)
        with pytest.raises(OSError, match="the power is gone"):
            train(tiny.config(), TrainArguments(data=data, run=tmp_path / "r"))

    train(tiny.config(), TrainArguments(data=data, run=tmp_path / "r", resume=True))

    assert weights(tmp_path / "r") == weights(trained)


def test_validation_counts_towards_the_time_and_is_kept_back(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("volseg.training.stopping.time.monotonic", lambda: now[0])
    clock = TrainingClock(100.0, before=10.0)

    now[0] = 50.0
    clock.reserve = 20.0

    assert clock.seconds_spent() == 60
    assert clock.share_spent() == pytest.approx(60 / 80)
    now[0] = 70.0
    assert clock.is_over()
    assert TrainingClock(None).share_spent() == 0


def test_the_time_is_for_training_where_the_last_validation_would_leave_too_little(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("volseg.training.stopping.time.monotonic", lambda: now[0])
    clock = TrainingClock(100.0, reserve=75.0)

    now[0] = 20.0
    assert clock.share_spent() == pytest.approx(0.8)
    clock.reserve = 76.0
    assert clock.share_spent() == pytest.approx(0.2)
    now[0] = 100.0
    assert clock.is_over()


def test_a_clock_that_is_ended_is_over_with_or_without_a_limit() -> None:
    for clock in (TrainingClock(None), TrainingClock(100.0, before=10.0)):
        assert not clock.is_over()
        clock.end()
        assert clock.is_over()


def test_resuming_with_other_settings_names_them(begun: TrainArguments) -> None:
    with pytest.raises(UserError, match=r"optimizer\.lr \(0\.01 then, 0\.02 now\)"):
        train(tiny.config(optimizer={"lr": 0.02}), begun)
    with pytest.raises(UserError, match="the dataset or fold"):
        train(tiny.config(), replace(begun, fold=1))


def spoil(path: Path) -> None:
    volume = read(path)
    voxels = volume.voxels.copy()
    voxels[0, 0, 0] += 1
    write_volume(volume.with_voxels(voxels), path)


def test_a_resumed_run_refuses_by_name_scans_that_came_or_went(begun: TrainArguments) -> None:
    listed = json.loads((begun.data / "dataset.json").read_text())
    gone = Run.open(begun.run).facts.train[0]
    listed["samples"] = [sample for sample in listed["samples"] if sample["name"] != gone]
    (begun.data / "dataset.json").write_text(json.dumps(listed))

    with pytest.raises(UserError, match=rf"splits\.json differs in [^)]*{gone}"):
        train(tiny.config(), begun)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("labels/{}/stomach.nii.gz", "the labels of {} \\(changed since\\)"),
        ("images/{}.nii.gz", "the image of {} \\("),
    ],
)
@pytest.mark.parametrize("group", ["train", "unseen_cases"])
def test_resuming_with_other_labels_or_images_names_the_scans(begun, file, told, group) -> None:
    scan = getattr(Run.open(begun.run).facts, group)[0]
    spoil(begun.data / file.format(scan))

    with pytest.raises(UserError, match=told.format(scan)):
        train(tiny.config(), begun)


def test_equal_volumes_in_other_bytes_are_the_same_data(begun: TrainArguments) -> None:
    for path in (begun.data / "labels").rglob("*.nii.gz"):
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=9))

    assert train(tiny.config(), begun).steps == 12


def test_a_run_of_an_earlier_version_without_checksums_is_resumed(begun: TrainArguments) -> None:
    values = json.loads((begun.run / SPLITS).read_text())
    for key in ("files", "images", "cases", "inherited", "slice_mm"):
        del values[key]
    (begun.run / SPLITS).write_text(json.dumps(values))
    spoil(begun.data / f"labels/{values['train'][0]}/stomach.nii.gz")

    assert train(tiny.config(), begun).steps == 12


def test_a_run_of_an_earlier_version_with_a_number_of_steps_between_validations_goes_on(begun) -> None:
    """The number was the default where the config has none now; how long validations took was not noted."""
    state = last(begun.run)
    del state["validation_seconds"]
    torch.save(state, begun.run / LAST)

    assert train(tiny.config(train={"epoch_steps": None}), begun).steps == 12


@pytest.mark.parametrize("resume", [False, True])
def test_two_trainings_of_one_run_refuse_each_other(begun: TrainArguments, resume: bool) -> None:
    run = begun.run if resume else begun.run / "new"
    before = {path: path.stat().st_mtime_ns for path in begun.run.rglob("*")}
    options = replace(begun, run=run, resume=resume)

    with folder_lock(run), pytest.raises(UserError) as caught:
        train(tiny.config(), options)

    assert str(caught.value) == (
        f"{run}: another `volseg train` is training it; wait for it, or start another with --run NAME"
    )
    after = {path: path.stat().st_mtime_ns for path in begun.run.rglob("*")}
    assert {path: time for path, time in after.items() if path != begun.run} == {
        path: time for path, time in before.items() if path != begun.run
    }
    (begun.run / LOCK).touch()  # of one that was killed
    assert train(tiny.config(), begun).steps == 12
    assert not (begun.run / LOCK).exists()


def test_a_run_that_is_refused_leaves_no_folder(begun: TrainArguments) -> None:
    options = replace(begun, run=begun.run.parent / "new")

    with pytest.raises(UserError, match="not a run"):
        train(tiny.config(), options)

    assert not options.run.exists()


def test_a_run_goes_on_with_its_own_steps_whatever_the_config_has(data: Path, tmp_path: Path) -> None:
    options = TrainArguments(data=data, run=tmp_path / "r", resume=True)
    train(tiny.config(), replace(options, resume=False, max_seconds=0.0))
    steps = (Threshold(value=0.3),)
    tuned = Run.open(options.run).replace_postprocess(steps, ["tuned"]).steps_file
    text, told = tuned.read_bytes(), f"{tuned}: keeps its own steps, which are not those of the"

    with log_to(tmp_path / "other.txt"):
        train(tiny.config().model_copy(update={"postprocess": (Threshold(),)}), options)
    with log_to(tmp_path / "none.txt"):
        train(tiny.config(), options)
    with log_to(tmp_path / "same.txt"):
        train(tiny.config().model_copy(update={"postprocess": steps}), options)

    assert (tmp_path / "other.txt").read_text().count(told) == 1
    assert told not in (tmp_path / "none.txt").read_text() + (tmp_path / "same.txt").read_text()
    assert tuned.read_bytes() == text
    assert Run.open(options.run).config.postprocess == steps
    with pytest.raises(UserError, match=r"can't be resumed with other settings: optimizer\.lr \([^,]*,"):
        train(tiny.config(optimizer={"lr": 0.02}), options)


def test_a_run_begins_with_what_the_labels_of_its_training_scans_justify(tmp_path: Path) -> None:
    """The scans that it is validated on have two stomachs each, which nobody may know."""
    dataset = tiny.write(tmp_path / "data", cases=10)
    _, facts = load_and_split(tiny.config(), dataset.folder, 0)
    mask = np.zeros(tiny.SHAPE, np.uint8)
    mask[:3, :3, :3] = mask[-3:, -3:, -3:] = 1
    for name in (*facts.unseen_cases, *facts.later_days):
        write_volume(Volume(mask, tiny.AFFINE), dataset.folder / f"labels/{name}/stomach.nii.gz")

    arguments = TrainArguments(data=dataset.folder, run=tmp_path / "r", max_seconds=0.0)
    run = Run.open(train(tiny.config(), arguments).run)

    assert run.config.postprocess == (Threshold(), KeepLargest(k=1), FillHoles())
    text = run.steps_file.read_text(encoding="utf-8")
    assert f"# Begun with what the labels of {len(facts.train)} scans justify" in text
    assert f"#   stomach: never more than 1 part in {len(facts.train)} scans" in text


@pytest.mark.parametrize("steps", [(), (Threshold(),), tiny.config().postprocess])
def test_steps_that_a_config_lists_are_those_of_the_run(data: Path, tmp_path: Path, steps) -> None:
    config = tiny.config().model_copy(update={"postprocess": steps})

    run = Run.open(train(config, TrainArguments(data=data, run=tmp_path / "r", max_seconds=0.0)).run)

    assert run.config.postprocess == steps
    assert "justify" not in run.steps_file.read_text(encoding="utf-8")


def test_an_old_run_is_resumed_by_the_steps_of_its_config(begun: TrainArguments) -> None:
    run = Run.open(begun.run)
    run.steps_file.unlink()
    text = run.config.model_dump_json()
    (run.folder / CONFIG).write_text(text)

    train(tiny.config(), begun)

    assert (run.folder / CONFIG).read_text() == text
    assert run.steps_file == run.folder / CONFIG


def test_a_step_for_an_unknown_class_is_refused(data: Path, tmp_path: Path) -> None:
    config = tiny.config().model_copy(update={"postprocess": (KeepLargest(only=("stomch",)),)})

    with pytest.raises(UserError, match=r"postprocess\.0\.only: .*did you mean stomach\?"):
        train(config, TrainArguments(data=data, run=tmp_path / "r"))

    assert not (tmp_path / "r").exists()


def test_a_step_whose_work_would_be_lost_is_refused(data: Path, tmp_path: Path) -> None:
    config = tiny.config().model_copy(update={"postprocess": (KeepLargest(), Threshold())})

    with pytest.raises(UserError, match=r"postprocess\.0: keep_largest does nothing, as threshold"):
        train(config, TrainArguments(data=data, run=tmp_path / "r"))


def test_resuming_nothing_says_so(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run"):
        train(tiny.config(), TrainArguments(data=data, run=tmp_path / "r", resume=True))


def test_a_damaged_checkpoint_is_named(begun: TrainArguments) -> None:
    (begun.run / LAST).write_bytes(b"junk")

    with pytest.raises(UserError, match=r"last\.pt: not a checkpoint of this run"):
        train(tiny.config(), begun)


def test_a_loss_that_is_no_number_stops_the_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"step \d+: the loss is (nan|inf); lower optimizer.lr"):
        train(
            tiny.config(optimizer={"lr": 1e30}, train={"clip": 1e30}),
            TrainArguments(data=data, run=tmp_path / "r"),
        )

    saved = torch.load(tmp_path / "r" / loop.DIVERGED, weights_only=True)
    network = Run.open(tmp_path / "r").build_network()
    network.load_state_dict(saved["network"])
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(saved["image"]).float()
    loss = DiceCE()(logits, saved["label"], exclusive=False)
    assert saved["step"] > 0
    assert set(saved["name"]) <= set(Run.open(tmp_path / "r").facts.train)
    assert not torch.isfinite(loss)  # the batch and the weights that did it


def test_fp16_learns_as_fp32_does_and_goes_on_in_bf16_and_back(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    """50 steps, the fifth with an infinite gradient, which halves the scale of the loss."""
    options = TrainArguments(data=data, run=tmp_path / "r", resume=True)
    schedule = {"steps": 50, "epoch_steps": 10}

    def of(precision: str) -> Config:
        course = {**schedule, "precision": precision}
        return tiny.config(train=course, network={"dropout": 0}, data={"split": "none"})

    def stopped(steps: int, precision: str, options: TrainArguments, spoil: int = 0) -> dict:
        with monkeypatch.context() as patched:
            patched.setattr(loop, "_train_step", _signals_at(steps, signal.SIGTERM, spoil=spoil))
            with pytest.raises(signals.Stopped):
                train(of(precision), options)
        return last(options.run)

    begun = stopped(20, "fp16", replace(options, resume=False), spoil=5)
    other = stopped(10, "bf16", options)
    done = train(of("fp16"), options)
    train(of("fp32"), TrainArguments(data=data, run=tmp_path / "fp32"))

    state, wanted = last(done.run), last(tmp_path / "fp32")
    losses = [row["loss"] for row in state["rows"]]
    assert (begun["step"], other["step"], done.steps) == (20, 30, 50)
    assert begun["scaler"]["scale"] == loss_scale.FIRST / 2
    assert other["scaler"] == {}
    assert all(torch.isfinite(value).all() for value in state["average"].values())
    assert losses[-1] < 0.8 * losses[0]
    assert losses[-1] == pytest.approx(wanted["rows"][-1]["loss"], abs=0.05)
    log = (done.run / "log.txt").read_text()
    assert log.count("goes on with another train.precision (fp16 then, bf16 now)") == 1
    assert Run.open(done.run).config.train.precision == "fp16"


@pytest.mark.parametrize(("kind", "repeats"), [("cpu", True), ("cuda", False), ("mps", False)])
def test_only_a_cpu_is_held_to_algorithms_that_repeat(monkeypatch, kind: str, repeats: bool) -> None:
    told = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, **_: told.append(mode))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", kind != "cuda")

    choose_algorithms(torch.device(kind))

    assert told == [repeats]
    assert torch.backends.cudnn.benchmark is (kind == "cuda")


def test_a_compiled_run_equals_a_plain_one_and_goes_on_uncompiled(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    steps = {"steps": 8, "epoch_steps": 4}
    plain, compiled = (tiny.config(train={**steps, "compile": yes}) for yes in (False, True))
    train(plain, TrainArguments(data=data, run=tmp_path / "plain"))
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_train_step", _signals_at(6, signal.SIGTERM))
        with pytest.raises(signals.Stopped):
            train(compiled, TrainArguments(data=data, run=tmp_path / "compiled"))

    train(plain, TrainArguments(data=data, run=tmp_path / "compiled", resume=True))

    assert_same(tmp_path / "plain", tmp_path / "compiled")


def test_parts_must_divide_the_batch() -> None:
    with pytest.raises(UserError, match="accumulate: 2 does not divide the batch of 3"):
        tiny.config(train={"batch": 3, "accumulate": 2})


def test_training_ends_early_when_no_better_score_comes(data: Path, tmp_path: Path, monkeypatch) -> None:
    scores = iter([0.3, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(Validation, "gather_scores", lambda *_args: {"score": next(scores)})
    config = tiny.config(train={"steps": 40, "patience": 2})

    done = train(config, TrainArguments(data=data, run=tmp_path / "r"))

    assert (done.steps, done.best) == (16, 0.5)  # the equal score of the fourth epoch is no better
    assert "no better score for 2 epochs" in (tmp_path / "r" / "log.txt").read_text()
    again = train(config, TrainArguments(data=data, run=tmp_path / "r", resume=True))
    assert again.steps == 16


def test_the_averaged_weights_are_kept_and_validated(data: Path, tmp_path: Path) -> None:
    train(tiny.config(data={"split": "none"}), TrainArguments(data=data, run=tmp_path / "r"))

    kept, state = Run.open(tmp_path / "r").load_network().state_dict(), last(tmp_path / "r")
    assert all(torch.equal(v, state["average"][f"module.{k}"]) for k, v in kept.items())
    assert any(not torch.equal(v, state["network"][k]) for k, v in kept.items())


@pytest.mark.parametrize("exclusive", [False, True])
def test_it_learns(tmp_path: Path, exclusive: bool) -> None:
    data = tiny.write(tmp_path / "data", exclusive=exclusive).folder
    config = tiny.config(train={"steps": 150, "epoch_steps": 150}, network={"dropout": 0})

    done = train(config, TrainArguments(data=data, run=tmp_path / "r"))

    assert done.best > 0.9


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_data_says_whether_classes_exclude_each_other(
    tmp_path: Path, monkeypatch, exclusive: bool
) -> None:
    data = tiny.write(tmp_path / "data", exclusive=exclusive).folder
    told = []
    loss = DiceCE.__call__

    def spy(self, logits, labels, *, exclusive):
        told.append(exclusive)
        return loss(self, logits, labels, exclusive=exclusive)

    monkeypatch.setattr(DiceCE, "__call__", spy)
    config = tiny.config(train={"steps": 2}, data={"split": "none"})
    train(config, TrainArguments(data=data, run=tmp_path / "r"))

    assert told == [exclusive] * 2


def test_excluded_scans_are_left_out(data: Path, tmp_path: Path) -> None:
    dataset = Dataset.load(data)
    facts = dataset.facts.model_copy(
        update={"samples": tuple(
            s.model_copy(update={"excluded": s.name == "case2_day1"}) for s in dataset.samples
        )}
    )  # fmt: skip
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("images", "labels"):
        (copy / name).symlink_to(data / name)
    Dataset(copy, facts).save()

    done = train(tiny.config(data={"split": "none"}), TrainArguments(data=copy, run=tmp_path / "r"))

    assert "case2_day1" not in Run.open(done.run).facts.train
    assert "case2_day1" in (done.run / "log.txt").read_text()


def test_a_full_disk_is_one_clear_line(data: Path, tmp_path: Path, monkeypatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"best\.safetensors: can't be written: the disk is full"):
        train(tiny.config(), TrainArguments(data=data, run=tmp_path / "r"))

    assert not list(tmp_path.rglob(".partial-*"))


def test_damaged_and_missing_files_are_all_told_before_training(tmp_path: Path) -> None:
    dataset = tiny.write(tmp_path / "data", cases=6)
    (dataset.folder / dataset.samples[0].images[0]).write_bytes(b"junk")
    (dataset.folder / dataset.samples[5].labels["stomach"]).unlink()

    with pytest.raises(UserError) as caught:
        train(tiny.config(), TrainArguments(data=dataset.folder, run=tmp_path / "r"))

    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "case1_day0.nii.gz: not a readable volume" in lines[0]
    assert "case2_day2/stomach.nii.gz: no such file" in lines[1]
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_scan_that_breaks_while_it_is_read_is_a_users_error(
    tmp_path: Path, monkeypatch, workers: int
) -> None:
    dataset = tiny.write(tmp_path / "data", cases=6)
    path = dataset.folder / dataset.samples[3].images[0]
    path.write_bytes(path.read_bytes()[:600])  # its header is whole
    monkeypatch.setattr("volseg.training.loading.scan_cache.free_memory", lambda: 0)

    with pytest.raises(UserError, match=r"case2_day0\.nii\.gz: not a readable volume"):
        train(
            tiny.config(data={"split": "none", "cache": "memory"}, train={"workers": workers}),
            TrainArguments(data=dataset.folder, run=tmp_path / "r"),
        )


def test_a_finished_run_without_its_checkpoint_is_not_trained_anew(begun: TrainArguments) -> None:
    (begun.run / LAST).unlink()
    before = weights(begun.run)

    with pytest.raises(UserError, match="nothing to resume"):
        train(tiny.config(), begun)

    assert weights(begun.run) == before


@pytest.fixture
def state() -> TrainingState:
    network = torch.nn.Linear(1, 1)
    scale = LossScale(torch.device("cpu"), enabled=False)
    return TrainingState(network, torch.optim.SGD(network.parameters()), scale)


def test_a_checkpoint_of_a_training_on_the_cpu_leaves_gpus_alone(state, tmp_path, monkeypatch) -> None:
    def begin() -> None:
        pytest.fail("began to use the GPU")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", begin)

    state.save(tmp_path / LAST)
    state.restore(tmp_path / LAST)


def test_a_checkpoint_for_which_there_is_no_memory_is_not_called_damaged(
    state, tmp_path, monkeypatch
) -> None:
    def fail(_values: object) -> None:
        raise torch.OutOfMemoryError

    state.save(tmp_path / LAST)
    monkeypatch.setattr(state.optimizer, "load_state_dict", fail)

    with pytest.raises(torch.OutOfMemoryError):
        state.restore(tmp_path / LAST)


@pytest.mark.parametrize("saved", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("resumed", [torch.contiguous_format, torch.channels_last_3d])
def test_a_run_of_another_memory_layout_goes_on_the_same(tmp_path, saved, resumed) -> None:
    """On a GPU weights lie in another layout than on a CPU, if the network's norms are faster so."""
    size = (2, 3, 3, 3, 3)
    weights, *gradients = torch.randn((4, *size), generator=torch.Generator().manual_seed(0))

    def train(layout: torch.memory_format, start: torch.Tensor) -> tuple[TrainingState, Callable]:
        network = torch.nn.Conv3d(3, 2, 3)
        network.weight.data.copy_(start)
        network = network.to(memory_format=layout)
        optimizer = AdamW().build([network.weight])

        def step(gradient: torch.Tensor) -> None:
            network.weight.grad = torch.empty_like(network.weight).copy_(gradient)
            optimizer.step()

        return TrainingState(network, optimizer, LossScale(torch.device("cpu"), enabled=False)), step

    state, step = train(saved, weights)
    step(gradients[0])
    state.save(tmp_path / LAST)
    other, other_step = train(resumed, torch.zeros(size))
    other.restore(tmp_path / LAST)
    for gradient in gradients[1:]:
        step(gradient)
        other_step(gradient)

    assert torch.equal(state.network.weight, other.network.weight)
