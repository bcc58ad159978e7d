import csv
from pathlib import Path

import pytest
import torch

from tests import tiny
from volseg.config import Config, check
from volseg.data.dataset import Dataset
from volseg.errors import OutputError, UserError
from volseg.masks.postprocess import KeepLargest
from volseg.model.losses import DiceCE
from volseg.model.state import Clock
from volseg.runs import BEST, LAST, METRICS, Run
from volseg.stages import train as stage
from volseg.stages.train import Options, train


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("data")).folder


def weights(run: Path) -> bytes:
    return (run / BEST).read_bytes()


def last(run: Path) -> dict:
    return torch.load(run / LAST, weights_only=True)


def test_a_run_holds_all_that_is_promised(data: Path, tmp_path: Path) -> None:
    done = train(tiny.config(), Options(data=data, run=tmp_path / "r"))

    names = {path.name for path in done.run.iterdir()}
    assert names >= {
        "config.yaml", "splits.json", BEST, LAST, METRICS, "log.txt", "tensorboard",
    }  # fmt: skip
    rows = list(csv.DictReader((done.run / METRICS).read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    assert float(rows[-1]["score"]) == pytest.approx(
        (float(rows[-1]["unseen_cases"]) + float(rows[-1]["later_days"])) / 2, abs=1e-4
    )
    assert done.best == max(float(row["score"]) for row in rows)
    assert list((done.run / "tensorboard").iterdir())


def test_one_seed_gives_identical_weights(data: Path, tmp_path: Path) -> None:
    for name, workers in (("a", 0), ("b", 0), ("c", 2)):
        train(tiny.config(train={"workers": workers}), Options(data=data, run=tmp_path / name))
    train(tiny.config(train={"seed": 1}), Options(data=data, run=tmp_path / "d"))

    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    state, other = last(tmp_path / "a")["network"], last(tmp_path / "c")["network"]
    assert all(torch.equal(value, other[name]) for name, value in state.items())
    assert weights(tmp_path / "a") != weights(tmp_path / "d")


@pytest.mark.parametrize("network", ["unet", "dynunet"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    data: Path, tmp_path: Path, monkeypatch, network: str
) -> None:
    config = _with_network(network)
    train(config, Options(data=data, run=tmp_path / "whole"))
    with monkeypatch.context() as patched:
        patched.setattr(stage, "_step", _stops_at(6, stage._step))
        with pytest.raises(KeyboardInterrupt):
            train(config, Options(data=data, run=tmp_path / "parts"))

    train(config, Options(data=data, run=tmp_path / "parts", resume=True))

    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    whole, parts = last(tmp_path / "whole"), last(tmp_path / "parts")
    assert torch.equal(whole["random"], parts["random"])
    for one, other in zip(
        whole["optimizer"]["state"].values(), parts["optimizer"]["state"].values(), strict=True
    ):
        assert all(torch.equal(one[key], other[key]) for key in one)
    untimed = [[{k: v for k, v in row.items() if "second" not in k} for row in state["rows"]]
               for state in (whole, parts)]  # fmt: skip
    assert untimed[0] == untimed[1]


def _with_network(name: str) -> Config:
    networks = {
        "unet": {"name": "unet", "channels": [8, 16], "dropout": 0.2},
        "dynunet": {"name": "dynunet", "filters": [4, 8, 8]},
    }
    values = {**tiny.config().model_dump(mode="json"), "network": networks[name]}
    return check(values, name)


def _stops_at(count: int, real):
    calls = []

    def step(*args, **kwargs):
        calls.append(1)
        if len(calls) > count:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    return step


def test_training_on_everything_has_no_validation_and_keeps_the_last_weights(
    data: Path, tmp_path: Path
) -> None:
    config = tiny.config(data={"split": "none", "hold_out": ["case1"]})

    done = train(config, Options(data=data, run=tmp_path / "r"))

    facts = Run.open(done.run).facts
    assert done.best is None
    assert len(facts.train) == 15
    assert set(facts.hold_out) == {"case1_day0", "case1_day1", "case1_day2"}
    best, state = Run.open(done.run).network()[0].state_dict(), last(done.run)["network"]
    assert all(torch.equal(value, best[name]) for name, value in state.items())


def test_time_that_runs_out_ends_the_run_with_the_learning_rate_down(
    data: Path, tmp_path: Path
) -> None:
    config = tiny.config(train={"steps": 100_000, "epoch_steps": 100_000})

    done = train(config, Options(data=data, run=tmp_path / "r", max_seconds=2.0))

    rows = list(csv.DictReader((done.run / METRICS).read_text().splitlines()))
    assert 2 <= done.seconds < 20
    assert float(rows[-1]["lr"]) < 0.1 * config.optimizer.lr


def test_an_existing_run_is_not_touched_without_resume(data: Path, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match=r"r: exists; pass --resume to go on or --run NAME"):
        train(tiny.config(), Options(data=data, run=tmp_path / "r"))

    assert [path.name for path in (tmp_path / "r").iterdir()] == ["notes.txt"]


def test_a_run_stopped_in_its_first_epoch_is_resumed_from_its_start(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(stage, "_step", _stops_at(2, stage._step))
        with pytest.raises(KeyboardInterrupt):
            train(tiny.config(), Options(data=data, run=tmp_path / "r"))

    train(tiny.config(), Options(data=data, run=tmp_path / "r", resume=True))
    train(tiny.config(), Options(data=data, run=tmp_path / "whole"))

    assert weights(tmp_path / "r") == weights(tmp_path / "whole")


def test_validation_counts_towards_the_time_and_is_kept_back(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("volseg.model.state.time.monotonic", lambda: now[0])
    clock = Clock(100.0, before=10.0)

    now[0] = 30.0
    with clock.reserving():
        now[0] = 50.0

    assert clock.spent() == 60
    assert clock.share() == pytest.approx(60 / 80)
    now[0] = 70.0
    assert clock.over()
    assert Clock(None).share() == 0


def test_resuming_with_other_settings_names_them(data: Path, tmp_path: Path) -> None:
    train(tiny.config(), Options(data=data, run=tmp_path / "r"))

    with pytest.raises(UserError, match=r"optimizer\.lr \(0\.01 then, 0\.02 now\)"):
        train(
            tiny.config(optimizer={"lr": 0.02}),
            Options(data=data, run=tmp_path / "r", resume=True),
        )
    with pytest.raises(UserError, match="the dataset or fold"):
        train(tiny.config(), Options(data=data, run=tmp_path / "r", resume=True, fold=1))


def test_a_step_for_an_unknown_class_is_refused(data: Path, tmp_path: Path) -> None:
    config = tiny.config().model_copy(update={"postprocess": (KeepLargest(only=("stomch",)),)})

    with pytest.raises(UserError, match=r"postprocess\.0\.only: .*did you mean stomach\?"):
        train(config, Options(data=data, run=tmp_path / "r"))

    assert not (tmp_path / "r").exists()


def test_resuming_nothing_says_so(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run"):
        train(tiny.config(), Options(data=data, run=tmp_path / "r", resume=True))


def test_a_damaged_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    train(tiny.config(), Options(data=data, run=tmp_path / "r"))
    (tmp_path / "r" / LAST).write_bytes(b"junk")

    with pytest.raises(UserError, match=r"last\.pt: not a checkpoint of this run"):
        train(tiny.config(), Options(data=data, run=tmp_path / "r", resume=True))


def test_a_loss_that_is_no_number_stops_the_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss is (nan|inf); lower optimizer.lr"):
        train(
            tiny.config(optimizer={"lr": 1e30}, train={"clip": 1e30}),
            Options(data=data, run=tmp_path / "r"),
        )


@pytest.mark.slow
@pytest.mark.parametrize("exclusive", [False, True])
def test_it_learns(tmp_path: Path, exclusive: bool) -> None:
    data = tiny.write(tmp_path / "data", exclusive=exclusive).folder
    config = tiny.config(train={"steps": 150, "epoch_steps": 150}, network={"dropout": 0})

    done = train(config, Options(data=data, run=tmp_path / "r"))

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
    train(config, Options(data=data, run=tmp_path / "r"))

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

    done = train(tiny.config(data={"split": "none"}), Options(data=copy, run=tmp_path / "r"))

    assert "case2_day1" not in Run.open(done.run).facts.train
    assert "case2_day1" in (done.run / "log.txt").read_text()


def test_a_full_disk_is_one_clear_line(data: Path, tmp_path: Path, monkeypatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"best\.safetensors: can't be written: the disk is full"):
        train(tiny.config(), Options(data=data, run=tmp_path / "r"))

    assert not list(tmp_path.rglob(".partial-*"))


def test_damaged_and_missing_files_are_all_told_before_training(tmp_path: Path) -> None:
    dataset = tiny.write(tmp_path / "data", cases=6)
    (dataset.folder / dataset.samples[0].images[0]).write_bytes(b"junk")
    (dataset.folder / dataset.samples[5].labels["stomach"]).unlink()

    with pytest.raises(UserError) as caught:
        train(tiny.config(), Options(data=dataset.folder, run=tmp_path / "r"))

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
    monkeypatch.setattr("volseg.data.cache.free_memory", lambda: 0)

    with pytest.raises(UserError, match=r"case2_day0\.nii\.gz: not a readable volume"):
        train(
            tiny.config(data={"split": "none", "cache": "memory"}, train={"workers": workers}),
            Options(data=dataset.folder, run=tmp_path / "r"),
        )


def test_a_finished_run_without_its_checkpoint_is_not_trained_anew(
    data: Path, tmp_path: Path
) -> None:
    train(tiny.config(), Options(data=data, run=tmp_path / "r"))
    (tmp_path / "r" / LAST).unlink()
    before = weights(tmp_path / "r")

    with pytest.raises(UserError, match="nothing to resume"):
        train(tiny.config(), Options(data=data, run=tmp_path / "r", resume=True))

    assert weights(tmp_path / "r") == before
