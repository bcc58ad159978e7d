"""Two processes that train together, against one that trains alone."""

import itertools
import json
import os
import shutil
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing

from tests import tiny
from tests.training.teachers import noise, teach
from volseg.arguments import TrainArguments
from volseg.config.config import Config
from volseg.data.dataset import Dataset
from volseg.errors import ElsewhereError, UserError
from volseg.model.distributed import joining, process_group
from volseg.model.engines.torch_device import Device
from volseg.runs.run import Run
from volseg.runs.run_files import LAST
from volseg.system import signals
from volseg.training import compilation, loop
from volseg.training.train import train
from volseg.training.validation import Validation
from volseg.visualization import overlay

pytestmark = pytest.mark.slow

RANKS, STEPS = 2, 20
CASES = {
    "one patch each": {},
    "uneven": {"batch": 3},
    "parts": {"batch": 4, "accumulate": 2},
    "uneven parts": {"batch": 6, "accumulate": 2},
    "batch norm": {"batch": 3},
    "compiled": {"batch": 3, "compile": True},
    "deep supervision": {"batch": 3},
    "taught": {"batch": 3},
}
"""Settings of train; the ranks' shares of a part of six patches are 2 and 1, then 1 and 2."""
SUPERVISED = {"name": "dynunet", "filters": (4, 8, 8), "deep_supervision": True}
MORE = 9  # trainings together beside CASES


def config(name: str, folder: Path) -> Config:
    network = {"dropout": 0.2 if "dropout" in name else 0.0}
    network |= {"norm": "batch"} if name == "batch norm" else {}
    network = SUPERVISED if name == "deep supervision" else network
    course = {"steps": STEPS, "epoch_steps": 10, "precision": "fp32"}
    rate = {"optimizer": {"lr": 1e30}} if name == "diverged" else {}
    uneven = {"batch": 3} if "dropout" in name else {}  # so that ranks draw unequally much
    course |= {"clip": 1e30, "batch": 3} if rate else CASES.get(name, uneven)
    course |= {"epoch_steps": 5} if name == "beside" else {}
    rate |= {"loss": {"name": "dice_ce", "dice_over": "patch"}} if name == "deep supervision" else {}
    course |= {"teacher": str(folder / "maps")} if name == "taught" else {}
    return tiny.config(network=network, train=course, **rate)


class Recorder:
    """Trains, and notes what this process did: losses, scans it validated, how it ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.losses: list[float] = []
        self.scans: list[str] = []

    def train(self, name: str, *, signal_at: int = 0, break_at: int = 0, **options: object) -> dict:
        self.losses, self.scans = [], []
        step, read, count = loop._train_step, Validation._read, itertools.count(1)
        note = loop._note_result

        def noted(*args):
            number = next(count)
            if number == signal_at:
                signal.raise_signal(signal.SIGTERM)
            if number == break_at:
                raise UserError("scan7: zero bytes")
            step(*args)

        def noted_result(training, result):
            self.losses += [result.loss] if result else []
            note(training, result)

        def seen(validation, task):
            self.scans.append(task.sample.name)
            return read(validation, task)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(compilation, "BACKEND", "eager")
            patched.setattr(process_group, "rank_cores", lambda: 1)  # others round otherwise
            patched.setattr(loop, "_train_step", noted)
            patched.setattr(loop, "_note_result", noted_result)
            patched.setattr(Validation, "_read", seen)
            end = self._end(name, options)
        return {"losses": self.losses, "scans": self.scans, "end": end}

    def _end(self, name: str, options: dict) -> str:
        where = TrainArguments(data=self.folder / "data", run=self.folder / self.run(name), **options)
        try:
            return f"{train(config(name, self.folder), where).steps} steps"
        except (signals.Stopped, UserError) as error:
            return f"{type(error).__name__}: {error}"

    def run(self, name: str) -> str:
        return f"together/{name}"


class Alone(Recorder):
    def run(self, name: str) -> str:
        return f"alone/{name}"


def work(rank: int, folder: Path, ports: list[int]) -> None:
    torch.set_num_threads(1)
    joining.LINGER, overlay.PANEL = 0.3, 60  # less waiting, and small pictures
    meeting = iter(ports)
    recorder, found = Recorder(folder), {}

    def together(label: str, run: str, **options: object) -> None:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS),
            "MASTER_ADDR": "localhost", "MASTER_PORT": str(next(meeting)),
        }  # fmt: skip
        found[label] = recorder.train(run, **options)

    for name in CASES:
        together(name, name)
    together("signal", "stopped", signal_at=6 if rank == 1 else 0)
    together("resumed", "resumed", resume=True)
    together("existing", "uneven")
    with pytest.MonkeyPatch.context() as patched:
        validate_beside(patched, seconds=0.2 * rank)
        together("beside", "beside")
    together("broken", "broken", break_at=4 if rank == 1 else 0)
    together("diverged", "diverged")
    together("dropout", "dropout")
    together("dropout stopped", "dropout in parts", signal_at=6 if rank == 0 else 0)
    together("dropout resumed", "dropout in parts", resume=True)
    (folder / f"{rank}.json").write_text(json.dumps(found))


def validate_beside(patched: pytest.MonkeyPatch, *, seconds: float) -> None:
    """Have validation go on beside training, so many seconds slower."""
    train_until_done, begin = loop.train_until_done, Validation.score_own_scans
    patched.setattr(loop, "train_until_done", lambda parts: train_until_done(replace(parts, beside=True)))

    def slow(validation, after_each):
        time.sleep(seconds)
        return begin(validation, after_each)

    patched.setattr(Validation, "score_own_scans", slow)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The data, a teacher of most of it, and a run that one process began and stopped after six steps."""
    folder = tmp_path_factory.mktemp("together")
    teach(tiny.write(folder / "data"), folder / "maps", noise)
    for lacking in (folder / "maps").glob("case*_day1"):  # ranks have unequally many taught patches
        shutil.rmtree(lacking)
    assert Recorder(folder).train("resumed", signal_at=6)["end"].startswith("Stopped")
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict]:
    """What each of two processes noted, by what they did."""
    multiprocessing.spawn(work, (folder, free_ports(len(CASES) + MORE)), nprocs=RANKS)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]


@pytest.fixture(scope="module")
def alone(folder: Path, found: list[dict]) -> dict[str, dict]:
    recorder = Alone(folder)
    return {name: recorder.train(name) for name in CASES}


def logits(run: Path, dataset: Dataset) -> np.ndarray:
    """What a run's best weights say of a scan."""
    network = Run.open(run).load_network()
    image = torch.from_numpy(dataset.image(dataset.samples[0], 0).voxels[:16, :, :8].astype("f4"))
    with torch.inference_mode():
        return network.eval()(image[None, None] / 1000).numpy()


@pytest.mark.parametrize("name", CASES)
def test_the_losses_are_those_of_one_process(found, alone, name: str) -> None:
    first, second = (one[name]["losses"] for one in found)

    assert len(first) == STEPS
    assert first == second
    assert first == pytest.approx(alone[name]["losses"], abs=1e-4)


@pytest.mark.parametrize("name", [name for name in CASES if name != "batch norm"])
def test_the_averaged_weights_say_the_same_as_those_of_one_process(
    folder: Path, found, alone, name: str
) -> None:
    """Not weight by weight: Adam moves those that say nothing (a bias before a norm) by rounding errors."""
    dataset = Dataset.load(folder / "data")
    ours = logits(folder / "together" / name, dataset)

    assert np.abs(ours - logits(folder / "alone" / name, dataset)).mean() < 1e-3
    assert ours.std() > 0.5


def test_the_weights_and_variances_of_batch_norms_are_those_of_one_process(
    folder: Path, found, alone
) -> None:
    one, other = (
        torch.load(folder / kind / "batch norm" / LAST, weights_only=True)["network"]
        for kind in ("together", "alone")
    )

    for key in one:
        if key.endswith(("N.weight", "N.bias", "running_var", "num_batches_tracked")):
            torch.testing.assert_close(one[key], other[key], rtol=1e-4, atol=1e-5)


def test_no_scan_is_validated_twice_or_left_out(folder: Path, found) -> None:
    first, second = (one["uneven"]["scans"] for one in found)
    facts = Run.open(folder / "together/uneven").facts
    kept = facts.unseen_cases + facts.later_days

    assert len(kept) % RANKS == 1  # one rank has one more
    assert sorted(first + second) == sorted(2 * kept)  # there are two epochs
    assert first
    assert second


def test_the_score_is_that_of_one_process_with_the_same_weights(folder: Path, found) -> None:
    run = Run.open(folder / "together/uneven")
    dataset = Dataset.load(folder / "data")
    device = Device(torch.device("cpu"), torch.float32)
    validation = Validation.of_network(run, dataset, run.load_network(), device)
    best = torch.load(run.folder / LAST, weights_only=True)["best"]

    scores = validation.gather_scores(validation.score_own_scans(lambda _done, _count: None))

    assert scores["score"] == pytest.approx(best, abs=2e-5)


def test_ranks_that_validate_beside_training_agree_when_they_are_done(folder: Path, found, alone) -> None:
    """One of them takes longer; scores are gathered in step, and are those of the same steps."""
    rows, plain = (
        torch.load(folder / "together" / name / LAST, weights_only=True)["rows"]
        for name in ("beside", "one patch each")
    )

    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    assert [rows[1]["score"], rows[3]["score"]] == [row["score"] for row in plain]
    assert found[0]["beside"]["losses"] == found[1]["beside"]["losses"]
    assert found[0]["beside"]["losses"] == pytest.approx(alone["one patch each"]["losses"], abs=1e-4)


def test_a_signal_to_one_stops_all_after_the_same_step(folder: Path, found) -> None:
    saved = torch.load(folder / "together/stopped" / LAST, weights_only=True)

    assert [one["signal"]["end"] for one in found] == [f"Stopped: {signal.SIGTERM.value}"] * RANKS
    assert [len(one["signal"]["losses"]) for one in found] == [6, 6]
    assert saved["step"] == 6


def test_a_run_goes_on_with_another_number_of_ranks(folder: Path, found, alone) -> None:
    """One process began what two ended, and the other way round."""
    whole = alone["one patch each"]["losses"]
    back = Recorder(folder).train("stopped", resume=True)

    assert [one["resumed"]["end"] for one in found] == [f"{STEPS} steps"] * RANKS
    assert found[0]["resumed"]["losses"] == pytest.approx(whole[6:], abs=1e-4)
    assert back["losses"] == pytest.approx(whole[6:], abs=1e-4)


def test_a_mistake_is_told_by_the_first_rank_only(found) -> None:
    first, second = (one["existing"]["end"] for one in found)

    assert first.startswith("UserError: ")
    assert "exists; pass --resume" in first
    assert second == f"{ElsewhereError.__name__}: "


def test_a_rank_that_fails_ends_the_others(found) -> None:
    first, second = (one["broken"]["end"] for one in found)

    assert first == f"{ElsewhereError.__name__}: "  # the other tells why
    assert second == "UserError: scan7: zero bytes"


def test_the_whole_batch_that_breaks_a_run_is_saved(folder: Path, found) -> None:
    saved = torch.load(folder / "together/diverged" / loop.DIVERGED, weights_only=True)
    first, second = (one["diverged"]["end"] for one in found)

    assert "lower optimizer.lr" in first
    assert second == f"{ElsewhereError.__name__}: "
    assert len(saved["image"]) == len(saved["label"]) == len(saved["name"]) == 3


def test_a_resume_with_as_many_ranks_equals_an_uninterrupted_run_dropout_and_all(found) -> None:
    whole, begun, ended = (
        [one[f"dropout{part}"]["losses"] for one in found] for part in ("", " stopped", " resumed")
    )

    assert len(begun[0]) == 6
    assert [a + b for a, b in zip(begun, ended, strict=True)] == whole


def test_only_the_first_rank_writes(folder: Path, found) -> None:
    run = folder / "together/uneven"
    log = (run / "log.txt").read_text()

    assert (log.count("training unet on 2 x "), log.count(" epoch ")) == (1, 2)
    assert len(list((run / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize(("batch", "parts"), [(2, 1), (7, 1), (6, 2), (12, 3)])
@pytest.mark.parametrize("count", [1, 2])
def test_each_part_of_a_batch_is_shared_out_whole(monkeypatch, batch, parts, count) -> None:
    monkeypatch.setattr(process_group, "world_size", lambda: count)
    shares = []
    for rank in range(count):
        monkeypatch.setattr(process_group, "rank", lambda rank=rank: rank)
        shares.append(process_group.rank_part_sizes(batch, parts))

    assert [sum(part) for part in zip(*shares, strict=True)] == [batch // parts] * parts


def test_a_batch_that_not_every_rank_has_a_share_of_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(process_group, "world_size", lambda: 3)

    with pytest.raises(UserError, match=r"train.batch: 2 is too little for 3 ranks; make it at lea"):
        process_group.rank_part_sizes(2, 1)
    with pytest.raises(UserError, match=r"train.batch: 4 in 2 parts is too little .* least 6"):
        process_group.rank_part_sizes(4, 2)


def test_ranks_draw_differently_and_again_the_same(monkeypatch) -> None:
    def drawn(rank: int, step: int) -> float:
        monkeypatch.setattr(process_group, "rank", lambda: rank)
        torch.manual_seed(0)
        process_group.seed_other_ranks(5, step)
        return float(torch.rand(1))

    alone = float(torch.rand(1, generator=torch.Generator().manual_seed(0)))

    assert drawn(0, 3) == alone
    assert drawn(1, 3) == drawn(1, 3)
    assert len({drawn(rank, step) for rank in (1, 2) for step in (3, 4)}) == 4
