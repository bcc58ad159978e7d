import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import step_inputs as evidence
from tests import tiny, turned
from tests.tuning.test_search_space import pipelines
from volseg.data.dataset import Dataset
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.errors import UserError
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.postprocessing import DropSmall, FillHoles, Threshold, apply_steps
from volseg.postprocessing.pipeline import resolve_overlaps
from volseg.system import hardware
from volseg.tuning.scan_scoring import PredictedScan
from volseg.tuning.trials import TrialRunner, pipeline_masks

LOW, HIGH = (Threshold(value=0.3),), (Threshold(value=0.6),)
STEPS = (Threshold(value=0.5), FillHoles())


@dataclass
class Known:
    """Probabilities in the place of a network's."""

    probabilities: np.ndarray
    grid: NetworkGrid

    def class_probability(self, number: int) -> np.ndarray:
        return self.probabilities[number]


def predicted(dataset: Dataset, seed: int = 0) -> list[PredictedScan]:
    """Each scan's truth, blurred by noise."""
    found = []
    for number, sample in enumerate(dataset.samples):
        rng = np.random.default_rng([seed, number])
        truth = dataset.labels(sample).astype(float)
        noisy = (truth * 150 + rng.integers(0, 105, truth.shape)).astype(np.uint8)
        found.append(
            PredictedScan(sample, Known(noisy, NetworkGrid.from_volume(dataset.image(sample), None)))
        )
    return found


def bench(dataset: Dataset, **changed) -> TrialRunner:
    values = {"scans": predicted(dataset), "until": math.inf, **changed}
    return TrialRunner(**{"dataset": dataset, "steps": STEPS, "goal": "dice", **values})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return tiny.write(tmp_path, cases=3, days=2)


@pytest.fixture(autouse=True)
def one_process(monkeypatch) -> None:
    monkeypatch.setattr(hardware, "available_cores", lambda: 1)


@given(evidence.probabilities, st.lists(pipelines, max_size=6))
def test_each_pipeline_gives_the_mask_that_it_gives_alone(probability, several) -> None:
    start = evidence.evidence_of(probability)

    found = dict(pipeline_masks(start, several))

    assert set(found) == set(several)
    for pipeline, mask in found.items():
        assert (mask == apply_steps(start, pipeline, "any")).all()


def test_steps_that_pipelines_begin_with_alike_are_done_once(monkeypatch) -> None:
    done = []
    original = Threshold.__call__
    monkeypatch.setattr(Threshold, "__call__", lambda s, e: done.append(s) or original(s, e))
    several = [(*LOW, DropSmall(min_mm3=float(size))) for size in range(1, 6)] + [LOW, HIGH]

    assert len(dict(pipeline_masks(evidence.evidence_of(np.zeros((3, 3, 3), np.uint8)), several))) == 7

    assert len(done) == 2


def test_a_cases_row_is_the_sum_of_its_scans(dataset: Dataset) -> None:
    made = bench(dataset)
    wanted = {"large_bowel": [LOW, HIGH], "stomach": [HIGH]}

    found = made.score_pipelines(wanted, "steps")

    assert made.cases == ["case1", "case2", "case3"]
    for number, name in enumerate(dataset.classes):
        for pipeline in wanted[name]:
            by_hand = np.zeros(3)
            for scan in made.scans:
                start = evidence.evidence_of(scan.maps.class_probability(number), tiny_spacing(dataset))
                mask = apply_steps(start, pipeline, name)
                truth = dataset.label(scan.sample, name).astype(bool)
                value = Dice()(MaskPair(truth, mask, tiny_spacing(dataset)))
                by_hand[made.cases.index(scan.sample.case)] += value
            assert found[name][pipeline].sums.ravel() == pytest.approx(by_hand)
            assert found[name][pipeline].counts.ravel().tolist() == [2, 2, 2]


@pytest.mark.parametrize("axes", [(2, 0, 1), (0, 2, 1)])
def test_the_competitions_score_is_of_slices_from_head_to_feet(tmp_path: Path, axes: tuple[int, ...]) -> None:
    found = []
    for name in ("usual", "turned"):
        dataset = tiny.write(tmp_path / name, cases=2, days=1)
        scans = predicted(dataset)
        if name == "turned":
            dataset = turned.turn_dataset(dataset, axes)
            scans = [
                replace(
                    scan,
                    sample=sample,
                    maps=Known(
                        scan.maps.probabilities.transpose(0, *(axis + 1 for axis in axes)),
                        NetworkGrid.from_volume(dataset.image(sample), None),
                    ),
                )
                for scan, sample in zip(scans, dataset.samples, strict=True)
            ]
        made = bench(dataset, scans=scans, goal="kaggle")
        found.append(made.score_pipelines({"stomach": [LOW]}, "steps")["stomach"][LOW])

    assert found[1].sums == pytest.approx(found[0].sums)
    assert found[1].counts.tolist() == found[0].counts.tolist()


def tiny_spacing(dataset: Dataset) -> tuple[float, float, float]:
    return dataset.samples[0].spacing_mm


def test_several_processes_find_what_one_finds(dataset: Dataset, monkeypatch) -> None:
    made, wanted = bench(dataset), {"large_bowel": [LOW], "stomach": [LOW, HIGH]}
    one = made.score_pipelines(wanted, "steps")
    monkeypatch.setattr(hardware, "available_cores", lambda: 2)

    two = made.score_pipelines(wanted, "steps")

    for name, tables in one.items():
        for pipeline, sums in tables.items():
            assert np.array_equal(sums, two[name][pipeline])


def test_exclusive_classes_lose_what_the_others_win(tmp_path: Path) -> None:
    dataset = tiny.write(tmp_path, cases=3, days=1, exclusive=True)
    rng = np.random.default_rng(0)
    scans = [
        replace(one, maps=Known(rng.integers(60, 256, one.maps.probabilities.shape, np.uint8), one.maps.grid))
        for one in predicted(dataset)
    ]  # fmt: skip
    made = bench(dataset, scans=scans)

    found = made.score_pipelines({name: [STEPS] for name in dataset.classes}, "steps")

    for row, scan in enumerate(scans):
        each = [scan.maps.class_probability(number) for number in range(2)]
        claims = [(one, apply_steps(evidence.evidence_of(one), STEPS, "any")) for one in each]
        for name, mask in zip(dataset.classes, resolve_overlaps(claims, tiny.SHAPE), strict=True):
            truth = dataset.label(scan.sample, name).astype(bool)
            expected = Dice()(MaskPair(truth, mask, tiny_spacing(dataset)))
            assert found[name][STEPS].sums[row, 0] == pytest.approx(expected)


def test_when_the_time_is_over_there_is_nothing_half_known(dataset: Dataset) -> None:
    assert bench(dataset, until=time.monotonic() - 1).score_pipelines({"stomach": [LOW]}, "steps") is None


def test_a_scan_that_cannot_be_read_is_named(dataset: Dataset) -> None:
    made = bench(dataset)
    broken = dataset.folder / "labels/case2_day1/stomach.nii.gz"
    broken.write_bytes(b"no volume")

    with pytest.raises(UserError, match="case2_day1/stomach"):
        made.score_pipelines({"stomach": [LOW]}, "steps")


@pytest.mark.parametrize(("room", "kept"), [(0.5, 0), (2.5, 2), (3.5, 3), (4.5, 4), (99, 6)])
def test_as_many_scans_as_there_is_time_for_first_days_first(
    dataset: Dataset, monkeypatch, room: float, kept: int
) -> None:
    """Two days of three cases; the first scan takes 2 s, all places 4 times as much, by one process."""
    clock = iter([100.0, 102.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    made = bench(dataset, until=102.0 + 8 * room)

    scans = [one.sample.name for one in made.thin_to_time({"stomach": [LOW]}).scans]

    assert len(scans) == kept
    assert [name for name in scans if name.endswith("day0")] == [
        "case1_day0", "case2_day0", "case3_day0"
    ][:kept]  # fmt: skip
