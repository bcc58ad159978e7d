import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.networks import nets
from safetensors.torch import load_file

from tests import tiny
from volseg import cli
from volseg.arguments import InferArguments, TrainArguments
from volseg.config.config import Config
from volseg.errors import UserError
from volseg.evaluation.evaluate import evaluate
from volseg.inference.infer import infer
from volseg.inference.out_of_fold import OutOfFoldScans
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, LAST, METRICS, WEIGHTS
from volseg.training import loop
from volseg.training.fine_tuning import find_weights_file, group_by_prefix
from volseg.training.train import train

pytestmark = pytest.mark.slow

STILL = {"optimizer": {"lr": 1e-12}}
"""A rate at which no weight moves by as much as float32 tells."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("data"), days=1).folder


@pytest.fixture(scope="module")
def source(data: Path, tmp_path_factory) -> Path:
    """A run that has learnt something."""
    folder = tmp_path_factory.mktemp("source") / "old"
    train(config(train={"steps": 20, "epoch_steps": 20}), TrainArguments(data=data, run=folder))
    return folder


def config(**sections: object) -> Config:
    short = {"network": {"dropout": 0.0}, "train": {"steps": 4, "epoch_steps": 2}}
    return tiny.config(**{**short, **sections})


@pytest.fixture(scope="module")
def whole(data: Path, source: Path, tmp_path_factory) -> Path:
    """A run from the source's weights that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "r"
    return train(config(), TrainArguments(data=data, run=folder, weights=str(source))).run


def rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / METRICS).read_text().splitlines()))


def record(run: Path) -> dict:
    return json.loads((run / WEIGHTS).read_text())


def test_training_goes_on_where_the_weights_run_ended(data: Path, source: Path, tmp_path: Path) -> None:
    one = {"train": {"steps": 2, "epoch_steps": 2}, **STILL}
    for name, weights in (("fresh", None), ("tuned", str(source))):
        train(config(**one), TrainArguments(data=data, run=tmp_path / name, weights=weights))

    tuned, old = (load_file(run / BEST) for run in (tmp_path / "tuned", source))
    assert tuned.keys() == old.keys()
    for name, value in tuned.items():
        torch.testing.assert_close(value, old[name], rtol=0, atol=1e-9)
    last = rows(source)[-1]
    assert rows(tmp_path / "tuned")[0]["score"] == last["score"]
    losses = [float(rows(run)[0]["loss"]) for run in (tmp_path / "fresh", tmp_path / "tuned")]
    assert losses[1] < float(last["loss"]) < 0.8 * losses[0]


def test_the_record_says_where_the_weights_came_from_and_what_was_loaded(
    data: Path, source: Path, tmp_path: Path
) -> None:
    deeper = config(network={"channels": [8, 16, 16], "dropout": 0.0}, train={"steps": 1})

    done = train(deeper, TrainArguments(data=data, run=tmp_path / "r", weights=str(source)))

    told, ours, theirs = (record(done.run), Run.open(done.run).build_network(), load_file(source / BEST))
    digest = hashlib.sha256((source / BEST).read_bytes()).hexdigest()
    assert (told["source"], told["file"]) == (str(source), str(source / BEST))
    assert told["sha256"] == digest
    names = {name: tuple(value.shape) for name, value in ours.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in theirs.items()}
    both = names.keys() & shapes.keys()
    assert set(told["loaded"]) == {name for name in both if names[name] == shapes[name]}
    assert set(told["missing"]) == names.keys() - shapes.keys()
    assert set(told["extra"]) == shapes.keys() - names.keys()
    wrong = {one["name"]: (one["there"], one["here"]) for one in told["wrong_shape"]}
    assert wrong == {
        name: (list(shapes[name]), list(names[name])) for name in both if names[name] != shapes[name]
    }
    assert all((told["loaded"], told["missing"], told["extra"], wrong))
    log = (done.run / "log.txt").read_text()
    assert f"{len(told['loaded'])} of {len(names)} tensors" in log
    assert f"{len(told['missing'])} stay fresh, not in the file: " in log
    assert f"{len(told['extra'])} of the file have no place here: " in log
    assert f"{len(wrong)} stay fresh, other shapes: " in log


def test_a_monai_bundle_is_a_source(data: Path, tmp_path: Path) -> None:
    network = nets.UNet(3, 1, 2, channels=(8, 16), strides=(2,), num_res_units=2)
    (tmp_path / "bundle" / "models").mkdir(parents=True)
    (tmp_path / "bundle" / "configs").mkdir()
    torch.save(network.state_dict(), tmp_path / "bundle/models/model.pt")

    done = train(
        config(train={"steps": 1}, **STILL),
        TrainArguments(data=data, run=tmp_path / "r", weights=str(tmp_path / "bundle")),
    )

    assert record(done.run)["loaded"] == list(network.state_dict())
    for name, value in load_file(done.run / BEST).items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=0, atol=1e-9)


def test_a_checkpoint_of_a_run_is_a_source(data: Path, source: Path, tmp_path: Path) -> None:
    done = train(
        config(train={"steps": 1}), TrainArguments(data=data, run=tmp_path / "r", weights=str(source / LAST))
    )

    told = record(done.run)
    assert told["parameters"] == told["parameters_in_all"]
    assert not told["extra"]


def _killed_after(count: int, real):
    """A step that dies at once, as by a kill, before anything is saved."""
    calls = []

    def step(*args, **kwargs):
        calls.append(1)
        if len(calls) > count:
            raise ZeroDivisionError
        return real(*args, **kwargs)

    return step


@pytest.mark.parametrize(
    "steps_and_words",
    [(0, True), (0, False), (3, True), (3, False)],
    ids=["first epoch", "first epoch, bare --resume", "later", "later, bare --resume"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    data: Path, whole: Path, source: Path, tmp_path: Path, monkeypatch, steps_and_words
) -> None:
    steps, again = steps_and_words
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_train_step", _killed_after(steps, loop._train_step))
        with pytest.raises(ZeroDivisionError):
            train(config(), TrainArguments(data=data, run=tmp_path / "parts", weights=str(source)))

    weights = str(source) if again else None
    train(config(), TrainArguments(data=data, run=tmp_path / "parts", weights=weights, resume=True))

    one, other = (torch.load(run / LAST, weights_only=True)["network"] for run in (whole, tmp_path / "parts"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert record(whole) == record(tmp_path / "parts")


def test_a_run_that_has_begun_no_longer_needs_its_source(data: Path, source: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(source, tmp_path / "copy")
    train(config(), TrainArguments(data=data, run=tmp_path / "r", weights=str(copy)))
    before = (tmp_path / "r" / BEST).read_bytes()
    shutil.rmtree(copy)

    train(config(), TrainArguments(data=data, run=tmp_path / "r", weights=str(copy), resume=True))

    assert (tmp_path / "r" / BEST).read_bytes() == before


def test_resuming_from_other_weights_is_refused(
    data: Path, whole: Path, source: Path, tmp_path: Path
) -> None:
    train(config(), TrainArguments(data=data, run=tmp_path / "plain"))

    with pytest.raises(UserError, match=r"r: was started from .*old, and .*plain.* holds other"):
        train(config(), TrainArguments(data=data, run=whole, weights=str(tmp_path / "plain"), resume=True))
    with pytest.raises(UserError, match=r"plain: was not started from weights; leave --weights"):
        train(
            config(), TrainArguments(data=data, run=tmp_path / "plain", weights=str(source), resume=True)
        )  # fmt: skip


def test_weights_that_changed_before_the_first_checkpoint_are_refused(
    data: Path, source: Path, tmp_path: Path, monkeypatch
) -> None:
    copy = shutil.copytree(source, tmp_path / "copy")
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_train_step", _killed_after(0, loop._train_step))
        with pytest.raises(ZeroDivisionError):
            train(config(), TrainArguments(data=data, run=tmp_path / "r", weights=str(copy)))
    Run.open(copy).save_best_weights(Run.open(copy).build_network())

    with pytest.raises(UserError, match="holds other weights than it did then"):
        train(config(), TrainArguments(data=data, run=tmp_path / "r", resume=True))


def test_scans_the_weights_have_seen_are_told_when_they_validate(
    data: Path, source: Path, tmp_path: Path
) -> None:
    options = {"data": data, "weights": str(source)}
    one = config(train={"steps": 1})

    same = train(one, TrainArguments(run=tmp_path / "same", fold=0, **options))
    other = train(one, TrainArguments(run=tmp_path / "other", fold=1, **options))

    facts, seen = Run.open(other.run).facts, record(other.run)["seen"]
    learnt = set(Run.open(source).facts.train)
    assert record(same.run)["seen"] == []
    assert seen
    assert learnt & {*facts.unseen_cases, *facts.later_days} <= set(seen)
    assert f"{len(seen)} scans that validate this run trained these weights" in (
        other.run / "log.txt"
    ).read_text()  # fmt: skip


def test_scans_of_an_ancestor_s_training_are_never_called_unseen(
    data: Path, source: Path, tmp_path: Path
) -> None:
    """The child is validated on scans of its parent, and so is the grandchild, whose parent kept none."""
    one = config(train={"steps": 1})
    child = train(one, TrainArguments(run=tmp_path / "child", fold=1, data=data, weights=str(source))).run
    whole = config(train={"steps": 1}, data={"split": "none"})
    other = train(whole, TrainArguments(run=tmp_path / "whole", data=data, weights=str(child))).run
    last = train(one, TrainArguments(run=tmp_path / "last", fold=2, data=data, weights=str(other))).run

    for run, ancestors in ((child, [source]), (last, [source, child, other])):
        learnt = {name for before in ancestors for name in Run.open(before).facts.train}
        out = tmp_path / f"{run.name}-out"
        infer(InferArguments(run=(str(run),), data=data, out=out, split="unseen_cases", engine="torch"))
        scores = evaluate(out, data, workers=1)
        assert {scan.scan for scan in scores.scans if scan.seen == "scan"} == learnt & {
            *Run.open(run).facts.unseen_cases
        }
        assert scores.headline.name == "seen scans"
        with pytest.raises(UserError, match="trained on by the weights that training began with"):
            OutOfFoldScans.of_run(str(run), data, "tune")


def test_a_wrong_source_leaves_nothing_behind(
    data: Path, source: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source, Path("runs/old"))
    (tmp_path / "script" / "models").mkdir(parents=True)
    (tmp_path / "script" / "models" / "model.ts").write_bytes(b"junk")
    Path("tiny.yaml").write_text("train: {patch: [16, 16, 8], steps: 1}\n")
    wider = "network={name: unet, channels: [16, 32]}"
    before = sorted(tmp_path.rglob("*"))

    for weights, text in (
        ("olb", "olb: no such run under runs, file or folder, did you mean old?"),
        ("runs", "runs: neither a run with weights (best.safetensors) nor a MONAI bundle"),
        ("tiny.yaml", "tiny.yaml: damaged, or not a file of PyTorch's"),
        ("script", "script/models/model.ts: damaged"),
        ("old", "runs/old/best.safetensors: names are the network's, but shapes are not"),
    ):
        words = ["train", "tiny.yaml", wider, "--data", str(data), "--weights", weights]
        assert cli.run_command(words) == 1
        assert text in capsys.readouterr().err

    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_is_found_by_name_by_folder_and_by_file(source: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source, Path("runs/old"))

    assert find_weights_file("old") == find_weights_file("runs/old") == find_weights_file(f"runs/old/{BEST}")
    assert find_weights_file(str(source)) == source / BEST


def test_many_names_are_grouped_and_few_stand_as_they_are() -> None:
    few = ["a.b.weight", "a.c.weight"]
    many = [f"a.{i}.{j}.w" for i in range(3) for j in range(4)] + ["tail.w"]

    assert group_by_prefix(few) == few
    assert group_by_prefix(many) == ["a.0.* (4)", "a.1.* (4)", "a.2.* (4)", "tail.w"]
    assert len(group_by_prefix([f"{i}.w" for i in range(20)])) == 20
    assert group_by_prefix([]) == []
