"""The forecast of a training on a GPU that isn't here, and the plans that come of it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests import tiny
from volseg import cli
from volseg.arguments import PlanArguments
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.planning import forecast, plan_text, target_grid
from volseg.planning import plan as stage
from volseg.planning.design_trials import ROOM
from volseg.planning.forecast_gpus import GB, find_gpu
from volseg.planning.forecast_plan import find_gpu_elsewhere, forecast_budget
from volseg.planning.resource_estimate import TrialTooLargeError
from volseg.planning.tables import estimate_rows
from volseg.planning.target_grid import TargetGrid

pytestmark = pytest.mark.slow

T4 = find_gpu("T4")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    dataset = tiny.write(tmp_path_factory.mktemp("forecast") / "data" / "prepared")
    tiny.record(dataset)
    return dataset.folder


def test_a_forecast_is_told_as_one_and_counts_the_scans_on_the_gpu(data: Path) -> None:
    told = forecast.forecast_resources(tiny.config(), data, T4)
    rows = dict(estimate_rows(told))

    assert told.is_forecast
    assert told.gpu_memory == told.measurements.gpu_memory + told.scans.packed.all
    assert told.scans.packed.all > 0
    assert told.measurements.gpu_memory > forecast.CONTEXT
    assert "a forecast for T4 (16.0 GB), fp16; nothing was measured on it" in rows["seconds"]
    assert "not forecast" in rows["memory"]
    assert told.measurements.shape == tiny.SHAPE
    assert told.validation_seconds > len(told.scans.facts.unseen_cases) * forecast.SCAN_SECONDS


def test_more_memory_than_the_gpu_has_is_too_large(data: Path) -> None:
    with pytest.raises(TrialTooLargeError):
        forecast.forecast_resources(tiny.config(), data, replace(T4, memory=10**8))


def test_half_the_bandwidth_and_arithmetic_take_twice_the_time(data: Path) -> None:
    config = tiny.config(train={"patch": [64, 64, 64], "batch": 64})
    slow = replace(T4, half_flops=T4.half_flops / 2, bandwidth=T4.bandwidth / 2)

    one, two = (forecast.forecast_resources(config, data, gpu).measurements for gpu in (T4, slow))

    assert two.step_seconds == pytest.approx(2 * one.step_seconds)
    assert two.gpu_memory == one.gpu_memory


def test_a_larger_gpu_sees_no_less_of_full_size_scans_on_the_finest_grid(data: Path, monkeypatch) -> None:
    """nnU-Net's way: most of the scan at full grid, from 24 GB on all of it."""
    full_size = TargetGrid((1.5, 1.5, 3.0), (266, 266, 144), "made up")
    monkeypatch.setattr(target_grid, "choose_grid", lambda _: full_size)
    seen, voxels = [], []
    for memory in ("8GB", "24GB", "80GB"):
        made = stage.plan(PlanArguments(data=data, gpu=memory))
        train = made.config.train

        assert made.config.data.spacing_mm == full_size.spacing_mm
        assert made.estimate.budgeted_memory <= ROOM * find_gpu(memory).memory
        seen.append(made.grids.chosen.coverage)
        voxels.append(math.prod(train.patch))

    assert voxels == sorted(voxels)
    assert seen[0] > 0.25
    assert seen[-1] > 0.95
    text = " ".join(plan_text.plan_yaml(made, data, None).split())
    assert "Measured" not in text
    assert "nothing was measured on it" in text


def test_a_gpu_elsewhere_is_planned_for_alone_and_within_its_memory() -> None:
    assert find_gpu_elsewhere(PlanArguments()) is None
    assert forecast_budget(T4, PlanArguments(max_memory=8 * GB)).memory == 8 * GB
    with pytest.raises(UserError, match=r"^--gpu T4: plans for a GPU that isn't here, --device cuda"):
        find_gpu_elsewhere(PlanArguments(gpu="T4", device="cuda"))
    with pytest.raises(UserError, match=r"^--max-memory: 24.0 GB is more than T4 \(16.0 GB\) has"):
        forecast_budget(T4, PlanArguments(max_memory=24 * GB))


def test_a_dry_run_forecasts_for_a_gpu_and_training_refuses_one(data: Path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(json.dumps(tiny.config().to_values()))  # JSON is YAML too
    words = ["train", "tiny.yaml", "--data", str(data)]

    assert cli.run_command([*words, "--gpu", "T4"]) == 1
    assert "--gpu T4: only a forecast of what training takes; add --dry-run" in capsys.readouterr().err
    assert cli.run_command([*words, "--dry-run", "--gpu", "T5"]) == 1
    assert "--gpu: 'T5' is no GPU known here; expected one of RTX 2080 Ti, T4," in capsys.readouterr().err
    assert cli.run_command([*words, "--dry-run", "--gpu", "4090"]) == 0
    assert "a forecast for RTX 4090" in capsys.readouterr().out
    assert not Path("runs").exists()
    assert Dataset.load(data).samples
