from pathlib import Path

import pytest
import torch

from volseg.config.config import Config
from volseg.errors import UserError
from volseg.inference.predictor import build_predictor
from volseg.model.networks import UNet
from volseg.postprocessing import FillHoles, KeepLargest, Threshold
from volseg.runs import locate, run_files
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.run import Run
from volseg.runs.run_files import RunSplits

CONFIG = Config(network=UNet(channels=(4, 8)))
FACTS = RunSplits(
    dataset="raw",
    classes=("a", "b"),
    exclusive=False,
    channels=("mr",),
    fold=0,
    train=("case1_day0", "case1_day1"),
    unseen_cases=("case2_day0",),
    later_days=("case1_day9",),
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "r", CONFIG, FACTS)
    made.save_best_weights(made.build_network())
    return made


def test_a_run_is_read_back_as_it_was_written(run: Run) -> None:
    opened = Run.open(run.folder)

    assert (opened.config, opened.facts) == (CONFIG, FACTS)


def test_the_steps_lie_in_a_file_of_their_own(run: Run) -> None:
    assert "postprocess" not in (run.folder / run_files.CONFIG).read_text()
    assert run.steps_file == run.folder / POSTPROCESS

    run.steps_file.write_text("- {name: threshold, value: 0.3}\n")

    assert Run.open(run.folder).config.postprocess == (Threshold(value=0.3),)
    assert build_predictor(Run.open(run.folder)).postprocess == (Threshold(value=0.3),)


def test_other_steps_are_those_of_the_run_from_then_on(run: Run) -> None:
    steps = (Threshold(value=0.3), FillHoles(only=("b",)))

    replaced = run.replace_postprocess(steps, ["better by 0.01"])

    expected = CONFIG.model_copy(update={"postprocess": steps})
    assert replaced.config == Run.open(run.folder).config == expected
    assert replaced.weights_digest == run.weights_digest
    assert "# better by 0.01\n" in run.steps_file.read_text()


def test_steps_for_other_classes_are_refused_when_a_run_is_opened(run: Run) -> None:
    run.steps_file.write_text("- {name: keep_largest, only: [c]}\n")

    with pytest.raises(UserError, match=rf"{POSTPROCESS}:\n  postprocess.0.only: no class 'c'"):
        Run.open(run.folder)
    with pytest.raises(UserError, match=rf"{POSTPROCESS}:\n  postprocess.0.only: no class 'c'"):
        run.replace_postprocess((KeepLargest(only=("c",)),))


def test_weights_come_back_bit_for_bit(run: Run) -> None:
    network = run.build_network().to(memory_format=torch.channels_last_3d)
    run.save_best_weights(network)

    loaded = Run.open(run.folder).load_network().state_dict()

    assert all(torch.equal(value, loaded[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_data_says_how_a_run_predicts(run: Run, exclusive: bool) -> None:
    facts = FACTS.model_copy(update={"exclusive": exclusive})
    opened = Run.open(Run.create(run.folder, CONFIG, facts).folder)

    assert build_predictor(opened).exclusive is exclusive


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a run, config.yaml is missing"):
        Run.open(tmp_path)


def test_a_run_without_weights_says_so(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", CONFIG, FACTS)

    with pytest.raises(UserError, match=r"has no weights \(best.safetensors\)"):
        run.load_network()


def test_weights_of_another_network_are_refused(run: Run, tmp_path: Path) -> None:
    other = Run.create(tmp_path / "o", Config(network=UNet(channels=(8, 8))), FACTS)
    (other.folder / run_files.BEST).write_bytes(run.weights_file.read_bytes())

    with pytest.raises(UserError, match="not the weights of this run"):
        other.load_network()


@pytest.mark.parametrize("content", [b"", b"junk"])
def test_damaged_weights_are_refused(run: Run, content: bytes) -> None:
    run.weights_file.write_bytes(content)

    with pytest.raises(UserError, match=r"best.safetensors: not the weights"):
        run.load_network()


def test_an_unknown_key_in_a_stored_config_names_the_version(run: Run) -> None:
    path = run.folder / run_files.CONFIG
    path.write_text(path.read_text() + "epohcs: 3\n")

    with pytest.raises(UserError, match=r"written by volseg 0\.\d+\.\d+\):\n  epohcs: unknown key"):
        Run.open(run.folder)


def test_other_classes_are_refused_by_name(run: Run) -> None:
    with pytest.raises(UserError, match=r"trained on the classes a, b, data has a, c"):
        run.check_classes(("a", "c"), Path("data"))


def test_the_newest_finished_run_is_the_default(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="runs: no finished run"):
        locate.find_run(None)
    for name in ("old", "new", "unfinished"):
        made = Run.create(Path("runs") / name, CONFIG, FACTS)
        if name != "unfinished":
            made.save_best_weights(made.build_network())

    assert locate.find_run(None) == Path("runs/new")
    assert locate.find_run("old") == Path("runs/old")
    with pytest.raises(UserError, match=r"did you mean unfinished\?"):
        locate.find_run("unfinishd")
