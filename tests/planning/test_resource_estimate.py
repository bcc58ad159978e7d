"""The forecast of a training; those that start a process are slow."""

import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from tests import tiny
from volseg import cli
from volseg.config.sections import Data
from volseg.errors import UserError
from volseg.formatting import format_bytes
from volseg.model.engines.torch import TorchNetwork
from volseg.planning import tables, trial_recorder, trial_training
from volseg.planning.resource_estimate import (
    ResourceEstimate,
    TrialAndTotal,
    TrialScans,
    TrialTooLargeError,
    TrialTooSlowError,
    estimate_resources,
    select_scans,
)
from volseg.planning.trial_recorder import FEWEST, MOST
from volseg.planning.trial_training import TrialMeasurements, TrialOrder
from volseg.training import train
from volseg.training.loading.scan_cache import packed_bytes

pytestmark = pytest.mark.slow


def made_up(**changes) -> ResourceEstimate:
    """A forecast of round numbers, by hand."""
    found = TrialMeasurements(
        device="cpu", parameters=1_500_000, shape=(20, 16, 10), steps=3, step_seconds=0.5,
        processor_seconds=0.8, loading_seconds=2.0, validation_seconds=3.0, saving_seconds=1.0,
        memory=800 * 10**6, gpu_memory=None,
    )  # fmt: skip
    config = tiny.config(train={"steps": 100, "epoch_steps": 40})
    facts = train.RunSplits(
        dataset="tiny", classes=("a",), exclusive=False, channels=("mr",), fold=0, train=("x", "y")
    )
    scans = TrialScans(
        facts, facts, "x", voxels=TrialAndTotal(10, 50), validated=TrialAndTotal(2, 10),
        cached=TrialAndTotal(10**6, 5 * 10**6), packed=TrialAndTotal(2, 7),
    )  # fmt: skip
    return replace(ResourceEstimate(config, scans, found, 900 * 10**6), **changes)


def test_seconds_add_up_as_worked_out_by_hand():
    told = made_up()

    assert told.start_seconds == 10  # 2 s for a fifth of the voxels
    assert told.validation_seconds == 16  # 3 s for a fifth, and 1 s to save
    assert told.epoch_seconds == 40 * 0.5 + 16
    assert told.run_seconds == 10 + 100 * 0.5 + 3 * 16  # epochs of 40, 40 and 20 steps


def test_memory_is_the_trials_peak_and_the_scans_it_did_without():
    assert made_up().peak_memory == 904 * 10**6
    assert made_up(process_tree_peak=0).peak_memory == 804 * 10**6
    assert made_up().budgeted_memory == made_up().peak_memory


@pytest.mark.parametrize(("room", "memory"), [(1, 100), (6, 100 - 2), (7, 100 + 7 - 2)])
def test_a_gpus_memory_has_the_scans_that_the_trial_did_without_where_all_have_room(room, memory):
    gpu = made_up().measurements.model_copy(update={"gpu_memory": 100, "gpu_room": room})

    assert made_up(measurements=gpu).budgeted_memory == made_up(measurements=gpu).gpu_memory == memory


def test_a_patch_covers_what_it_has_in_common_with_the_scan():
    assert made_up().patch_coverage == (16 / 20) * 1 * (8 / 10)  # 16x16x8 of 20x16x10


def test_a_time_limit_is_told_in_steps():
    assert tables.run_text(made_up(), None) == "2 min for 100 steps"
    # after 10 s to load, 49 s of the other 98 s
    assert tables.run_text(made_up(), 59) == "59 s, as --max-time says: about 50 of 100 steps"


@pytest.mark.parametrize(("count", "text"), [(1, "1 MB"), (45 * 10**6, "45 MB"), (1_240_000_000, "1.2 GB")])
def test_bytes_are_told_with_their_unit(count, text):
    assert format_bytes(count) == text


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    tiny.write(tmp_path / "data" / "prepared")
    tiny.config().model_dump(mode="json")
    (tmp_path / "tiny.yaml").write_text(tiny.config().model_dump_json())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_dry_run_tells_memory_and_time_and_writes_nothing(here: Path, capsys):
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}

    assert cli.run_command(["train", "tiny.yaml", "--dry-run", "train.workers=1", "--max-time", "30m"]) == 0

    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before
    out = capsys.readouterr().out
    for word in ("fold 0", "are scans", "million parameters", "a step", "at the peak"):
        assert word in out


def test_a_trial_ends_as_soon_as_enough_steps_are_measured(here: Path, monkeypatch):
    monkeypatch.setattr(trial_recorder, "SECONDS", 0.0)
    _, facts = train.load_and_split(tiny.config(), here / "data/prepared", 0)
    order = TrialOrder(config=tiny.config(), data=here / "data/prepared", facts=facts, scan=facts.train[0])

    measured = trial_training.run_trial(order, here / "run")

    assert measured.steps == FEWEST
    assert measured.step_seconds > 0
    assert measured.validation_seconds > 0
    assert measured.saving_seconds > 0


def test_the_search_for_the_fastest_kernels_counts_as_no_part_of_validation(here: Path, monkeypatch):
    """cuDNN looks for them at the first batch of a size; a run does it once, however often it validates."""
    monkeypatch.setattr(trial_recorder, "SECONDS", 0.0)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(
        train, "choose_algorithms", lambda _: setattr(torch.backends.cudnn, "benchmark", True)
    )
    search, known, real = 3.0, set(), TorchNetwork._run

    def run(self, windows):
        if len(windows) not in known:
            known.add(len(windows))
            time.sleep(search)
        return real(self, windows)

    monkeypatch.setattr(TorchNetwork, "_run", run)
    _, facts = train.load_and_split(tiny.config(), here / "data/prepared", 0)
    order = TrialOrder(config=tiny.config(), data=here / "data/prepared", facts=facts, scan=facts.train[0])

    measured = trial_training.run_trial(order, here / "run")

    assert known
    assert measured.validation_seconds < search


def test_a_trial_takes_few_scans_and_more_memory_for_a_larger_patch(here: Path):
    small = estimate_resources(tiny.config(), here / "data/prepared")
    larger = {"patch": [96, 96, 48], "workers": 0}
    large = estimate_resources(tiny.config(train=larger), here / "data/prepared")

    assert FEWEST <= small.measurements.steps <= MOST
    assert small.measurements.shape == tiny.SHAPE
    assert set(small.scans.tried.train) < set(small.scans.facts.train)
    assert small.patch_coverage == (16 / 20) * 1 * (8 / 10)
    assert (
        large.peak_memory > small.peak_memory + 4 * 4 * 128 * 128 * 64 * 8
    )  # one float32 level of 8 channels
    assert large.measurements.step_seconds > small.measurements.step_seconds


def test_what_training_would_refuse_is_refused_and_too_much_memory_ends_the_trial(here: Path):
    data = here / "data/prepared"
    with pytest.raises(TrialTooLargeError):
        estimate_resources(tiny.config(), data, limit=10**8)
    with pytest.raises(UserError, match="no such case"):
        estimate_resources(tiny.config(data={"hold_out": ["case77"]}), data)
    for path in (data / "images").glob("*.nii.gz"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) - 40])  # the header is there, not all voxels
    with pytest.raises(UserError, match="not a readable volume"):
        estimate_resources(tiny.config(), data)


def test_a_trial_that_takes_too_long_is_ended(here: Path):
    before = set(psutil.Process().children(recursive=True))

    with pytest.raises(TrialTooSlowError):
        estimate_resources(tiny.config(), here / "data/prepared", seconds=0.3)

    assert set(psutil.Process().children(recursive=True)) <= before


def test_too_little_memory_of_the_device_ends_a_trial_as_too_large(here: Path):
    """The whole way through the process, in which an allocation of 100 TB fails as a GPU's would."""
    config = tiny.config(network={"name": "unet", "channels": [2**20, 2**20]})

    with pytest.raises(TrialTooLargeError):
        estimate_resources(config, here / "data/prepared")


def test_cached_scans_are_counted_on_the_networks_grid(here: Path):
    samples = train.Dataset.load(here / "data/prepared").samples[:2]

    assert packed_bytes(samples, Data()) == 2 * 20 * 16 * 10 * (2 + 1)  # float16, and a byte of bits
    assert packed_bytes(samples, Data(spacing_mm=(1.5, 1.5, 1.5))) == 2 * packed_bytes(samples, Data())


def test_a_teachers_maps_and_scans_without_labels_are_counted(here: Path):
    """A byte a class and voxel more for each scan with maps, those that learn from them alone included."""
    config, data = tiny.config(), here / "data/prepared"
    dataset, facts = train.load_and_split(config, data, 0)
    names = facts.train
    taught_files = {name: one.model_copy(update={"teacher": "0"}) for name, one in facts.files.items()}
    taught = facts.model_copy(update={"train": names[:-2], "taught": names[-2:], "files": taught_files})
    learning = config.model_copy(update={"train": config.train.model_copy(update={"teacher": here / "maps"})})
    known = {sample.name: sample for sample in dataset.samples}
    classes = len(dataset.classes)

    plain, both = (select_scans(one, known, sets) for one, sets in ((config, facts), (learning, taught)))

    assert both.voxels == plain.voxels
    assert {*both.tried.train, *both.tried.taught} == {*plain.tried.train}
    assert both.packed.all == plain.packed.all * (2 + 1 + classes) / (2 + 1)


@pytest.mark.parametrize(
    ("step", "processor", "gpu", "told"),
    [(18.0, 0.9, None, True), (0.5, 0.4, None, False), (0.5, 0.9, None, False), (0.5, 0.1, 10**9, False)],
)
def test_a_step_that_had_little_of_the_processor_is_told_but_on_a_gpu(step, processor, gpu, told):
    times = {"step_seconds": step, "processor_seconds": processor, "gpu_memory": gpu}
    found = made_up().measurements.model_copy(update=times)

    text = "beside other programs (a step took 18 s, in which it had the processor for 0.9 s): alone it is"
    assert (text in tables.source_text(made_up(measurements=found))) == told
