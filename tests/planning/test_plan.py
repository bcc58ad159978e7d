"""`volseg plan`: what it chooses, with trials that are made up; one real one at the end."""

import math
from pathlib import Path

import pytest

from tests import tiny
from volseg import cli
from volseg.arguments import PlanArguments
from volseg.config import commented_yaml, config
from volseg.config.config import Config
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.planning import network_design, plan_text
from volseg.planning import plan as stage
from volseg.planning.resource_estimate import ResourceEstimate, TrialAndTotal, TrialScans, TrialTooLargeError
from volseg.planning.trial_training import TrialMeasurements
from volseg.training import train

pytestmark = pytest.mark.slow

FIXED, EACH = 10**8, 30_000
"""Bytes of the made-up machine: before the first step, and for each voxel of a batch."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    dataset = tiny.write(tmp_path / "data" / "prepared")
    tiny.record(dataset)
    return dataset.folder


def made_up(step_seconds=0.01, validation_seconds=1.0):
    def forecast(config: Config, data: Path, *, limit: int | None = None, fold=0) -> ResourceEstimate:
        _, facts = train.load_and_split(config, data, fold)
        voxels = config.train.batch * math.prod(config.train.patch)
        memory = FIXED + EACH * voxels
        if limit is not None and memory > limit:
            raise TrialTooLargeError
        found = TrialMeasurements(
            device="made up", parameters=10, shape=tiny.SHAPE, steps=3, step_seconds=step_seconds,
            processor_seconds=step_seconds, loading_seconds=0.1,
            validation_seconds=validation_seconds, saving_seconds=0.0, memory=memory,
            gpu_memory=None,
        )  # fmt: skip
        one = TrialAndTotal(1, 1)
        return ResourceEstimate(
            config, TrialScans(facts, facts, "s", one, one, TrialAndTotal(0, 0)), found, 0, 0
        )

    return forecast


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(stage, "estimate_resources", made_up())


def planned(data: Path, kind="unet", memory=10**10, seconds=None):
    return stage.plan(PlanArguments(data=data, network=kind, max_memory=memory, max_seconds=seconds))


@pytest.mark.usefixtures("quick")
def test_steps_are_left_to_the_labels_of_the_run_and_those_of_all_labels_are_shown(data, tmp_path):
    made = planned(data)
    text = plan_text.plan_yaml(made, data, None)

    assert not made.config.lists_steps
    assert not config.validate_values(config.parse_sections(text, "plan"), "plan").lists_steps
    shown = text[text.index("#   postprocess:") :].splitlines()
    assert shown[:3] == [
        "#   postprocess:",
        "#     - {name: threshold, value: 0.5}",
        "#     - {name: keep_largest, k: 1}",
    ]
    assert "# large_bowel: never more than 1 part in 18 scans; the smallest has " in text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["unet", "dynunet", "segresnet", "swinunetr"])
def test_the_text_reads_back_as_the_config_and_gives_the_command(data, tmp_path, kind):
    made = planned(data, kind)
    out = tmp_path / "p.yaml"
    out.write_text(plan_text.plan_yaml(made, data, out))

    assert config.load(out) == made.config
    assert made.config.network.name == kind
    assert f"volseg train {out} --data {data}" in out.read_text()
    assert made.config.data.spacing_mm == (1.5, 1.5, 3.0)
    assert made.config.inference.window == made.config.train.patch


@pytest.mark.usefixtures("quick")
def test_reasons_are_of_settings_that_some_network_has(data):
    names = {
        f"network.{key}" for key in ("name", "strides", "channels", "filters", "blocks_down", "feature_size")
    }
    known = {
        f"{section}.{key}"
        for section, values in Config()
        for key in getattr(type(values), "model_fields", ())
    }

    assert set(planned(data).reasons) - names <= known


@pytest.mark.usefixtures("quick")
def test_half_the_memory_never_gives_a_larger_batch_of_patches(data, monkeypatch):
    monkeypatch.setattr(network_design, "SMALLEST", 8)  # else there is hardly a choice for so small scans
    found = []
    for memory in (24 * 10**8, 12 * 10**8, 6 * 10**8, 3 * 10**8, 15 * 10**7):
        course = planned(data, memory=memory).config.train
        found.append(course.batch * math.prod(course.patch))

    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]
    assert FIXED + EACH * found[-1] <= 150 * 10**6


@pytest.mark.usefixtures("quick")
def test_nothing_that_fits_is_told_with_what_would(data):
    with pytest.raises(UserError, match=r"--max-memory: 1 MB is too little: even 2 x \d+x\d+x\d+ takes"):
        planned(data, memory=10**6)


def test_a_given_time_sets_the_steps_with_validation_in_it(data, monkeypatch):
    monkeypatch.setattr(stage, "estimate_resources", made_up(step_seconds=0.5, validation_seconds=10))

    made = planned(data, seconds=3600)

    course, told = made.config.train, made.estimate
    assert told.run_seconds == pytest.approx(3600, abs=15)
    assert course.steps < 7200
    assert 10 / told.epoch_seconds <= 0.21
    assert "--max-time 3600s" in plan_text.plan_yaml(made, data, None)


def test_a_slow_machine_gets_the_smallest_patch_rather_than_nothing(data, monkeypatch):
    monkeypatch.setattr(stage, "estimate_resources", made_up(step_seconds=30))
    slow = planned(data).config.train
    monkeypatch.setattr(stage, "estimate_resources", made_up())
    quick = planned(data).config.train

    assert math.prod(slow.patch) <= math.prod(quick.patch)


@pytest.mark.usefixtures("quick")
def test_few_cases_are_trained_on_without_folds(tmp_path):
    dataset = tiny.write(tmp_path, cases=1, days=1)
    tiny.record(dataset)

    made = planned(tmp_path)

    assert made.config.data.split == "none"
    assert "too few for 5 folds" in made.reasons["data.split"]


def test_a_dataset_without_records_says_what_to_do(tmp_path):
    tiny.write(tmp_path, cases=1, days=1)

    with pytest.raises(UserError, match="run `volseg prepare` again"):
        planned(tmp_path)


@pytest.mark.usefixtures("quick")
def test_the_command_writes_the_file_and_never_over_another(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["plan", "--max-memory", "1GB", "--out", "p.yaml"]

    assert cli.run_command(words) == 0
    assert "p.yaml: train with `volseg train p.yaml --data data/prepared`" in capsys.readouterr().out
    first = Path("p.yaml").read_bytes()
    assert cli.run_command([*words, "--network", "dynunet"]) == 1
    assert "--out p.yaml: exists; name another file or pass --force" in capsys.readouterr().err
    assert Path("p.yaml").read_bytes() == first
    assert cli.run_command([*words, "--network", "dynunet", "--force"]) == 0
    assert config.load(Path("p.yaml")).network.name == "dynunet"


@pytest.mark.usefixtures("quick")
def test_without_a_file_stdout_is_the_config_alone(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert cli.run_command(["plan", "--max-memory", "1GB"]) == 0

    out = capsys.readouterr().out
    assert config.validate_values(config.parse_sections(out, "stdout"), "stdout").network.name == "unet"
    assert out.startswith("# unet for tiny")


def test_a_plan_trains_as_it_is(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert cli.run_command(["plan", "--out", "p.yaml", "--max-time", "60s"]) == 0
    assert cli.run_command(["train", "p.yaml", "--run", "r", "--max-time", "1s"]) == 0

    assert max(map(len, Path("p.yaml").read_text().splitlines()[:3])) <= commented_yaml.WIDTH
    assert "runs/r: " in capsys.readouterr().out
    assert Dataset.load(data).samples
