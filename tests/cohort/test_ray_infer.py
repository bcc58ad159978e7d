import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests import tiny
from tests.cohort.killing import VICTIMS, killed_run
from volseg.arguments import CohortArguments, InferArguments, Shard, TrainArguments
from volseg.cli import run_command
from volseg.inference.infer import infer
from volseg.inference.prediction_folder import load_predictions
from volseg.system.files import file_sha256
from volseg.training.train import train

pytestmark = pytest.mark.slow
ON = CohortArguments(on="ray")
OWN = {"computed", "seconds"}  # what a record says of the computation


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("data") / "prepared", cases=8).folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return train(tiny.config(), TrainArguments(data=data, run=folder)).run


@pytest.fixture
def wanted(data: Path, trained: Path, tmp_path: Path) -> InferArguments:
    return InferArguments(run=(str(trained),), data=data, out=tmp_path / "out", engine="torch", all=True)


def masks(out: Path) -> dict[str, str]:
    """The hash of each file but records, which are compared by themselves."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "predictions.json"]
    return {str(path.relative_to(out)): file_sha256(path) for path in files if path.name != "record.json"}


def records(out: Path) -> dict[str, dict]:
    return {one.scan: one.model_dump(exclude={*OWN, "folder", "masks"}) for one in load_predictions(out)}


def test_the_pool_two_shards_and_two_nodes_leave_the_same_files(two_nodes, wanted, tmp_path) -> None:
    outs = [tmp_path / name for name in ("pool", "shards", "ray")]

    infer(replace(wanted, out=outs[0]))
    for number in range(2):
        infer(replace(wanted, out=outs[1], shard=Shard(number, 2)))
    done = infer(replace(wanted, out=outs[2]), ON)

    assert len(done.records) == 24
    assert masks(outs[0]) == masks(outs[1]) == masks(outs[2])
    assert records(outs[0]) == records(outs[1]) == records(outs[2])
    computed = [one.computed for one in load_predictions(outs[2])]
    assert {one.loads for one in computed} == {1}
    assert len({one.process for one in computed}) == 2
    assert {one.attempts for one in computed} == {1}


@pytest.mark.parametrize("seed", range(3), ids=VICTIMS)
def test_whatever_is_killed_no_scan_is_lost_or_done_twice(seed, two_nodes, data, trained, tmp_path) -> None:
    wanted, out = ("--data", str(data), "--run", str(trained)), tmp_path / "out"

    watched = killed_run(two_nodes, wanted, out, seed=seed, scans=24)

    assert watched.look() == 24
    assert {scan: len(computed) for scan, computed in watched.seen.items()} == dict.fromkeys(records(out), 1)
    assert not [*out.rglob(".partial-*")]
    halved = [prediction for prediction in load_predictions(out) if prediction.computed.memory_budget]
    assert bool(halved) == (VICTIMS[seed] == "actor")
    for prediction in load_predictions(out):
        assert prediction.edited_files == ()
        assert {path.name for path in prediction.folder.iterdir()} == {*prediction.files, "record.json"}


def test_a_poisoned_scan_is_named_and_the_others_are_done(two_nodes, wanted, tmp_path, capsys) -> None:
    data = Path(shutil.copytree(wanted.data, tmp_path / "data"))
    (data / "images/case3_day1.nii.gz").write_bytes(b"poison")

    code = run_command(
        ["infer", "--all", "--on", "ray", "--run", *wanted.run, "--data", str(data), "--out", str(wanted.out)]
    )

    talk = capsys.readouterr().err
    failed = [one.scan for one in load_predictions(wanted.out) if one.status == "failed"]
    assert (code, failed) == (3, ["case3_day1"])
    assert "failed: case3_day1: " in talk
