"""Laws of validation: its scores, what it does side by side, and where it ends."""

import math
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from volseg.data.dataset import Dataset
from volseg.inference.memory_budget import MemoryBudget
from volseg.model.engines.torch_device import Device
from volseg.runs.run import Run
from volseg.runs.run_files import LAST
from volseg.training.validation import RankScores, Validation, _PredictedScan, _ReadScan, _ScoredScan

pytestmark = pytest.mark.slow

CPU = Device.choose("auto", "cpu")
PART = 0.1  # seconds of each of the three parts of a slow validation


@pytest.fixture
def validation(trained: Path, data: Path) -> Validation:
    run = Run.open(trained)
    return Validation.of_network(run, Dataset.load(data), run.load_network(), CPU)


def nothing(_done: int, _count: int) -> None: ...


def scores_of(validation: Validation) -> dict[str, float]:
    return validation.gather_scores(validation.score_own_scans(nothing))


def slowed(monkeypatch, events: list[str]) -> None:
    """Each part of each scan takes a while more, and is noted."""
    for part in ("_read", "_predict", "_score"):
        real = getattr(Validation, part)

        def slow(self, scan, *, part=part, real=real):
            events.append(f"{part} begins")
            time.sleep(PART)
            made = real(self, scan)
            events.append(f"{part} ends")
            return made

        monkeypatch.setattr(Validation, part, slow)


@pytest.mark.parametrize("room", [False, True])
def test_the_scores_are_the_same_side_by_side_and_one_after_the_other(
    validation, trained: Path, monkeypatch, room: bool
) -> None:
    monkeypatch.setattr(MemoryBudget, "has_room_beside", lambda *_args: room)

    saved = torch.load(trained / LAST, weights_only=True)
    (best,) = [row for row in saved["rows"] if row["score"] == saved["best"]][:1]
    scores = scores_of(validation)

    assert scores == {name: best[name] for name in scores}


def test_side_by_side_a_scan_is_read_while_one_is_predicted_and_one_scored(validation, monkeypatch) -> None:
    """Each part of a fake validation ends when the part before it has begun with the next scan."""
    scans = len(validation.sets.unseen_cases + validation.sets.later_days)
    monkeypatch.setattr(MemoryBudget, "has_room_beside", lambda *_args: True)
    begun, changed = Counter[str](), threading.Condition()

    def overlapping(part: str, before: str | None, made):
        def run(_self, given):
            with changed:
                begun[part] += 1
                number = begun[part]
                changed.notify_all()
                assert before is None or changed.wait_for(lambda: begun[before] >= min(number + 1, scans), 60)
            return made(given)

        return run

    for part, before, made in (
        ("_read", None, lambda task: _ReadScan(task, ())),
        ("_predict", "_read", lambda scan: _PredictedScan(scan.task, None, None)),
        ("_score", "_predict", lambda scan: _ScoredScan(scan.task, [], [], None)),
    ):
        monkeypatch.setattr(Validation, part, overlapping(part, before, made))

    validation.score_own_scans(nothing)

    assert begun == {"_read": scans, "_predict": scans, "_score": scans}
    assert scans > 2


def test_without_room_nothing_happens_beside_a_prediction(validation, monkeypatch) -> None:
    events: list[str] = []
    slowed(monkeypatch, events)
    monkeypatch.setattr(MemoryBudget, "has_room_beside", lambda *_args: False)

    scores_of(validation)

    begun = [number for number, event in enumerate(events) if event == "_predict begins"]
    assert begun
    assert {events[number + 1] for number in begun} == {"_predict ends"}


def test_an_exception_between_two_scans_ends_it_with_what_was_begun(validation, monkeypatch) -> None:
    events: list[str] = []
    slowed(monkeypatch, events)

    def stop(done: int, count: int) -> None:
        assert (done, count) == (1, len(validation.sets.unseen_cases + validation.sets.later_days))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validation.score_own_scans(stop)

    assert events.count("_predict begins") <= 2
    assert events.count("_read begins") == events.count("_read ends")
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_training_that_goes_on_does_not_change_what_is_validated(trained: Path, data: Path) -> None:
    network = Run.open(trained).load_network()
    validation = Validation.of_network(Run.open(trained), Dataset.load(data), network, CPU)
    before = scores_of(validation)

    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
    unchanged = scores_of(validation)
    validation.take_weights(network)

    assert unchanged == before
    assert scores_of(validation) != before


def test_means_leave_out_what_is_not_defined(validation) -> None:
    """Two scans a set: a class that neither has is NaN, and has no say in the mean."""
    first, second = validation.sets.unseen_cases[:2]
    sets = validation.sets.model_copy(update={"unseen_cases": (first, second), "later_days": ()})
    rows = {first: [0.5, math.nan], second: [1.0, math.nan]}

    scores = replace(validation, sets=sets).gather_scores(RankScores(rows))

    assert math.isnan(scores.pop("unseen_cases_stomach"))
    assert scores == {"unseen_cases": 0.75, "unseen_cases_large_bowel": 0.75, "score": 0.75}
