"""`volseg plan`: what it chooses, with trials that are made up; one real one at the end."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from volseg import cli
from volseg.arguments import PlanArguments
from volseg.config import commented_yaml, config
from volseg.config.config import Config
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.planning import design_trials, grid_search, network_design, plan_text, target_grid
from volseg.planning import plan as stage
from volseg.planning.design_search import TRIALS
from volseg.planning.design_trials import (
    BUSY_SECONDS,
    LAST_SECONDS,
    ROOM,
    SEARCH_SECONDS,
    STEP_SECONDS,
    TRIAL_SECONDS,
    TrainingBudget,
)
from volseg.planning.label_ceiling import GridCeiling
from volseg.planning.network_design import MOST_ELEMENTS, NetworkDesign
from volseg.planning.resource_estimate import (
    ResourceEstimate,
    TrialAndTotal,
    TrialScans,
    TrialTooLargeError,
    TrialTooSlowError,
)
from volseg.planning.target_grid import TargetGrid
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
    def forecast(config: Config, data: Path, *, limit: int | None = None, fold=0, **_) -> ResourceEstimate:
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
            config,
            TrialScans(facts, facts, "s", one, one, TrialAndTotal(0, 0), TrialAndTotal(0, 0)),
            found,
            0,
        )

    return forecast


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(design_trials, "estimate_resources", made_up())


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
@pytest.mark.parametrize("kind", ["unet", "dynunet", "resenc", "mednext", "segresnet", "swinunetr"])
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
    settings = ("name", "strides", "kernels", "channels", "filters", "blocks_down", "feature_size")
    names = {f"network.{key}" for key in settings}
    known = {
        f"{section}.{key}"
        for section, values in Config()
        for key in getattr(type(values), "model_fields", ())
    } | {section for section, _ in Config()}

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


@pytest.mark.parametrize(("step", "validation"), [(0.5, 10), (0.001, 100)])
def test_a_given_time_sets_the_steps_with_validation_in_it(data, monkeypatch, step, validation):
    machine = made_up(step_seconds=step, validation_seconds=validation)
    monkeypatch.setattr(design_trials, "estimate_resources", machine)

    made = planned(data, seconds=3600)

    course, told = made.config.train, made.estimate
    assert told.run_seconds == pytest.approx(3600, abs=1.5 * validation)
    assert course.steps < 3600 / step
    assert course.epoch_steps is None
    assert validation / told.epoch_seconds <= 0.151  # steps are whole
    assert "--max-time 3600s" in plan_text.plan_yaml(made, data, None)


def test_a_slow_machine_gets_the_smallest_patch_rather_than_nothing(data, monkeypatch):
    monkeypatch.setattr(design_trials, "estimate_resources", made_up(step_seconds=30))
    slow = planned(data).config.train
    monkeypatch.setattr(design_trials, "estimate_resources", made_up())
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


class FakeGpu:
    """A GPU whose trials take a made-up time and memory, and the clock that goes on meanwhile."""

    def __init__(self, monkeypatch, gigabytes: int, *, bytes_per_voxel=3000.0, trial_seconds=40.0) -> None:
        self.memory, self.bytes_per_voxel = gigabytes * 10**9, bytes_per_voxel
        self.trial_seconds, self.now = trial_seconds, 0.0
        self.tried: list[Config] = []
        budget = TrainingBudget(self.memory, "made up", None, gpu=True)
        monkeypatch.setattr(stage, "_training_budget", lambda _: budget)
        monkeypatch.setattr(design_trials, "estimate_resources", self.estimate)
        monkeypatch.setattr(design_trials.time, "monotonic", lambda: self.now)
        full_size = TargetGrid((1.5, 1.5, 3.0), (266, 266, 144), "made up")
        monkeypatch.setattr(target_grid, "choose_grid", lambda _: full_size)
        monkeypatch.setattr(grid_search, "measure_ceilings", self.ceilings)

    @staticmethod
    def ceilings(dataset: Dataset, _: object, grids: Sequence[object]) -> list[GridCeiling]:
        """Those of organs of a scan of this size: each grid loses a hundredth more."""
        return [GridCeiling(dict.fromkeys(dataset.classes, 1 - n / 100), 3) for n in range(len(grids))]

    def estimate(self, config: Config, data: Path, *, seconds: float, **_: object) -> ResourceEstimate:
        self.tried.append(config)
        if self.trial_seconds > seconds:
            self.now += seconds
            raise TrialTooSlowError(processor_seconds=0.1 * seconds)
        self.now += self.trial_seconds
        needed = 10**9 + self.bytes_per_voxel * config.train.batch * math.prod(config.train.patch)
        if needed > self.memory:
            raise TrialTooLargeError
        found = made_up()(config, data)
        measured = found.measurements.model_copy(update={"gpu_memory": round(needed)})
        return replace(found, measurements=measured)


@pytest.mark.parametrize("kind", ["unet", "dynunet", "segresnet", "swinunetr"])
def test_a_larger_gpu_gets_no_smaller_batch_none_too_large_and_all_end_in_time(data, kind, monkeypatch):
    monkeypatch.setattr(grid_search, "BATCH_SHARE", 10.0)  # as many scans as a batch may have
    voxels = []
    for gigabytes in (8, 24, 80, 10_000):
        gpu = FakeGpu(monkeypatch, gigabytes)
        made = planned(data, kind)

        train = made.config.train
        assert made.estimate.budgeted_memory <= ROOM * gpu.memory
        assert NetworkDesign(made.config.network, train.patch, train.batch).most_elements <= MOST_ELEMENTS
        assert len(gpu.tried) <= TRIALS
        assert gpu.now <= SEARCH_SECONDS + TRIAL_SECONDS
        voxels.append(train.batch * math.prod(train.patch))

    assert voxels == sorted(voxels)
    assert voxels[0] < voxels[-1]


class SlowCpu(FakeGpu):
    """A CPU that takes 3 us for each voxel of a step, and a clock that stands still."""

    voxel_seconds = 3e-6

    def estimate(self, config: Config, data: Path, **_: object) -> ResourceEstimate:
        self.tried.append(config)
        seconds = self.voxel_seconds * config.train.batch * math.prod(config.train.patch)
        return made_up(step_seconds=seconds)(config, data)


class FasterCpu(SlowCpu):
    """A CPU whose step of a second has a patch of an eighth of a scan on the finest grid."""

    voxel_seconds = 3e-7


def test_little_time_gets_a_coarser_grid_and_much_a_finer_and_the_file_says_why(data, monkeypatch):
    made = {}
    for minutes in (5, 60_000):
        cpu = FasterCpu(monkeypatch, 100)
        budget = TrainingBudget(10**11, "made up", 60.0 * minutes, gpu=False)
        monkeypatch.setattr(stage, "_training_budget", lambda _, budget=budget: budget)
        made[minutes] = planned(data)
        assert len(cpu.tried) <= TRIALS

    little, much = (made[minutes].grids for minutes in made)
    assert little.chosen.grid.spacing_mm > much.chosen.grid.spacing_mm
    assert little.chosen.coverage > little.options[0].coverage
    assert made[5].config.data.spacing_mm == little.chosen.grid.spacing_mm
    text = plan_text.plan_yaml(made[5], data, None)
    marked = next(line for line in text.splitlines() if line.endswith(" chosen"))
    assert marked.startswith(f"#   {little.chosen.grid.spacing_text} ")
    assert "# Ceiling of each class on the chosen grid: large_bowel 0." in text
    assert "labels lose only" in " ".join(text.split())


def test_a_search_that_takes_too_long_takes_what_fits_so_far(data, monkeypatch):
    gpu = FakeGpu(monkeypatch, 80, trial_seconds=TRIAL_SECONDS - 1)

    planned(data)

    assert gpu.now <= SEARCH_SECONDS + TRIAL_SECONDS


def test_trials_that_never_end_end_the_plan_in_words(data, monkeypatch, caplog):
    gpu = FakeGpu(monkeypatch, 80, trial_seconds=math.inf)
    budget = TrainingBudget(80 * 10**9, "made up", None, gpu=False)
    monkeypatch.setattr(stage, "_training_budget", lambda _: budget)

    with (
        caplog.at_level("INFO", "volseg"),
        pytest.raises(
            UserError, match=r"^--network unet: even 2 x \d+x\d+x\d+ could not be tried within the 540 s"
        ),
    ):
        planned(data)

    assert gpu.now <= SEARCH_SECONDS + LAST_SECONDS + BUSY_SECONDS
    told = [record.message for record in caplog.records]
    assert sum(line.startswith("trial 1 of at most 7: 2 x ") for line in told) == 1
    assert sum(" s, so it is too slow" in line for line in told) == len(gpu.tried) == 3
    busy = "other programs use this machine: a trial of 120 s had the processor for 12 s; so times are rough"
    assert sum(busy in line for line in told) == 1


def test_a_machine_that_others_keep_busy_gets_a_late_plan_rather_than_none(data, monkeypatch, caplog):
    machine = FakeGpu(monkeypatch, 80, trial_seconds=BUSY_SECONDS - 1)
    budget = TrainingBudget(80 * 10**9, "made up", None, gpu=False)
    monkeypatch.setattr(stage, "_training_budget", lambda _: budget)

    with caplog.at_level("INFO", "volseg"):
        made = planned(data)

    assert machine.now <= SEARCH_SECONDS + LAST_SECONDS + BUSY_SECONDS
    assert made.config.train.patch == machine.tried[-1].train.patch == machine.tried[-2].train.patch
    assert "is tried once more, for 300 s at most" in caplog.text


class BusyMachine(SlowCpu):
    """A CPU of which other programs leave so little that two trials end in time, and no third."""

    def estimate(self, config: Config, data: Path, **_: object) -> ResourceEstimate:
        if len(self.tried) == 2:
            self.now += TRIAL_SECONDS
            raise TrialTooSlowError
        self.now += self.trial_seconds
        return super().estimate(config, data)


@pytest.mark.parametrize("trial_seconds", [TRIAL_SECONDS, SEARCH_SECONDS / 3])
def test_on_a_busy_machine_the_patch_is_reckoned_from_what_was_tried(data, monkeypatch, trial_seconds):
    made = {}
    for kind in (SlowCpu, BusyMachine):
        machine = kind(monkeypatch, 100, trial_seconds=trial_seconds)
        budget = TrainingBudget(10**11, "made up", 300.0, gpu=False)
        monkeypatch.setattr(stage, "_training_budget", lambda _, budget=budget: budget)
        made[kind] = planned(data)

    quiet, busy = made.values()
    assert machine.now <= SEARCH_SECONDS + TRIAL_SECONDS
    assert busy.grids.chosen.grid == quiet.grids.chosen.grid
    voxels = [math.prod(plan.config.train.patch) for plan in made.values()]
    assert voxels[1] == pytest.approx(voxels[0], rel=0.2)
    step = 3e-6 * busy.config.train.batch * voxels[1]
    assert busy.estimate.measurements.step_seconds == pytest.approx(step)
    memory = FIXED + EACH * busy.config.train.batch * voxels[1]
    assert busy.estimate.peak_memory == pytest.approx(memory, rel=0.01)
    assert "Reckoned from trials of other patches" in plan_text.plan_yaml(busy, data, None)
    assert "Measured in 3 steps" in plan_text.plan_yaml(quiet, data, None)


class NoisyMachine(FakeGpu):
    """A CPU on which a step takes 18 to 28 s, whatever its voxels, and a trial five steps of that.

    The processor is at work for `share` of it: 1 on a slow machine, little beside other programs.
    """

    share = 1.0

    def estimate(self, config: Config, data: Path, *, seconds: float, **_: object) -> ResourceEstimate:
        step = 18.0 + 10 * (len(self.tried) * 0.37 % 1)  # now more, now less
        self.tried.append(config)
        self.now += min(5 * step, seconds)
        if 5 * step > seconds:
            raise TrialTooSlowError
        found = made_up(step_seconds=step)(config, data)
        measured = found.measurements.model_copy(update={"processor_seconds": self.share * step})
        return replace(found, measurements=measured)


def test_trials_of_slow_steps_are_given_up_after_the_first(data, monkeypatch, caplog):
    machine = NoisyMachine(monkeypatch, 100)
    budget = TrainingBudget(10**11, "made up", 3600.0, gpu=False)
    monkeypatch.setattr(stage, "_training_budget", lambda _: budget)

    with caplog.at_level("INFO", "volseg"):
        made = planned(data)

    assert len(machine.tried) == 1
    assert machine.now <= 5 * 18.0
    tried, chosen = (math.prod(config.train.patch) for config in (machine.tried[0], made.config))
    assert chosen < tried
    reckoned = 18.0 * chosen / tried
    assert made.estimate.measurements.step_seconds == pytest.approx(reckoned)
    assert reckoned <= STEP_SECONDS
    assert made.estimate.peak_memory == FIXED + EACH * 2 * tried  # at most as much
    assert "is not tried, as that would take long" in caplog.text
    assert "other programs" not in caplog.text


def test_a_busy_machine_is_told_and_the_patch_goes_by_the_time_of_the_processor(data, monkeypatch, caplog):
    monkeypatch.setattr(NoisyMachine, "share", 0.02)
    machine = NoisyMachine(monkeypatch, 100)
    budget = TrainingBudget(10**11, "made up", 3600.0, gpu=False)
    monkeypatch.setattr(stage, "_training_budget", lambda _: budget)

    with caplog.at_level("INFO", "volseg"):
        made = planned(data)

    assert machine.now <= SEARCH_SECONDS
    chosen, tried = (math.prod(config.train.patch) for config in (made.config, machine.tried[0]))
    assert chosen >= tried
    told = "other programs use this machine: a step took 18 s, in which it had the processor for 0.36 s"
    assert told in caplog.text
    assert "end them and plan again" in caplog.text


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("gpu", [False, True])
def test_a_plan_ends_in_time_whatever_the_machine_does(data, monkeypatch, seed, gpu):
    """Steps and trials of any length, some of which are too large, without any rule."""
    rng = np.random.default_rng(seed)

    class AnyMachine(FakeGpu):
        def estimate(self, config: Config, data: Path, *, seconds: float, **_: object) -> ResourceEstimate:
            self.tried.append(config)
            assert seconds > 0
            step, trial = 10 ** rng.uniform(-2, 2, 2)
            self.now += min(trial, seconds)
            if trial > seconds:
                raise TrialTooSlowError
            if rng.random() < 0.2:
                raise TrialTooLargeError
            return made_up(step_seconds=step)(config, data)

    machine = AnyMachine(monkeypatch, 100)
    budget = TrainingBudget(10**11, "made up", 3600.0, gpu=gpu)
    monkeypatch.setattr(stage, "_training_budget", lambda _: budget)

    with suppress(UserError):
        planned(data)

    assert 0 < len(machine.tried) <= TRIALS
    assert machine.now <= SEARCH_SECONDS + LAST_SECONDS
