"""A limit of time for all scans: less for each as it runs out, none left out, and every record true."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests import tiny
from volseg.arguments import InferArguments
from volseg.inference import infer as stage
from volseg.inference import time_limit
from volseg.inference.infer import infer
from volseg.inference.predictor import Predictor
from volseg.inference.time_limit import TimeLimit

FULL, HALF, LEAST = "", "2 of 2 networks and 1 of 2 views", "1 of 2 networks and 1 of 2 views"
PASSES = {FULL: 4, HALF: 2, LEAST: 1}


class Clock:
    """A clock that only prediction moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.passes: list[int] = []

    def monotonic(self) -> float:
        return self.now


class Amount(NamedTuple):
    """What stands for an effort: how often a scan is passed through a network."""

    reduced: str
    passes: int


class Sized(NamedTuple):
    """What stands for a scan."""

    name: str
    voxels: int


def simulated(monkeypatch, sizes: list[int], seconds: float, a_voxel: float = 1.0) -> tuple[list[str], str]:
    """What each scan is predicted by where a voxel takes so many seconds a pass; and the note at the end."""
    clock, sources = Clock(), [Sized(f"s{number}", size) for number, size in enumerate(sizes)]
    monkeypatch.setattr(time_limit, "time", clock)
    efforts = [Amount(reduced, passes) for reduced, passes in PASSES.items()]
    limit, chosen = TimeLimit(efforts, sources, clock.now, seconds), []
    for source in sources:
        chosen.append(limit.choose(source))
        clock.now += a_voxel * source.voxels * chosen[-1].passes
    return [effort.reduced for effort in chosen], limit.lateness()


@pytest.mark.parametrize(
    ("seconds", "reduced", "late"),
    [
        (24, [FULL] * 6, ""),
        (23, [FULL, HALF, *[FULL] * 4], ""),  # a scan by less makes room for more views of the others
        (14, [FULL, *[HALF] * 5], ""),
        (13, [FULL, LEAST, *[HALF] * 4], ""),
        (9, [FULL, *[LEAST] * 5], ""),
        (5, [FULL, *[LEAST] * 5], "took 9 s, 4 s longer than --max-time; no scan was left out"),
    ],
)
def test_every_scan_gets_the_most_that_leaves_time_for_the_others(
    monkeypatch, seconds: float, reduced: list[str], late: str
) -> None:
    assert simulated(monkeypatch, [1] * 6, seconds) == (reduced, late)


def test_large_scans_count_by_their_size(monkeypatch) -> None:
    """After the first, 4 s of 4 voxels, 20 s are left for 10 voxels: two passes of each."""
    assert simulated(monkeypatch, [4, 9, 1], 36)[0] == [FULL, HALF, HALF]


@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12), share=st.floats(0.25, 1.5))
def test_the_time_is_kept_where_the_least_would_keep_it(sizes, share) -> None:
    """Where each voxel takes as long as others, and after the first scan there is time for the least."""
    seconds = 4 * sizes[0] + share * 4 * sum(sizes[1:])
    with pytest.MonkeyPatch.context() as patch:
        reduced, late = simulated(patch, sizes, seconds)

    assert late == ""
    assert reduced[1:] == [FULL] * (len(sizes) - 1) or share < 1


def test_each_reduction_is_logged_once_when_it_begins(monkeypatch, caplog) -> None:
    simulated(monkeypatch, [1] * 6, 13)

    assert [record.getMessage() for record in caplog.records] == [
        f"s1, as others may be: by {LEAST}, to keep --max-time",
        f"s2, as others may be: by {HALF}, to keep --max-time",
    ]


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """A second for each pass of a scan through a network."""
    made, predict = Clock(), Predictor.predict_probabilities

    def timed(self, channels, spent):
        made.passes.append(sum(member.inference.views for member in self.members))
        made.now += made.passes[-1]
        return predict(self, channels, spent)

    monkeypatch.setattr(Predictor, "predict_probabilities", timed)
    monkeypatch.setattr(time_limit, "time", made)
    monkeypatch.setattr(stage, "time", made)
    return made


def with_flips(run: Path, folder: Path, flips: list[str]) -> str:
    """A copy of a run that predicts the mean of mirrored views."""
    config = yaml.safe_load((Path(shutil.copytree(run, folder)) / "config.yaml").read_text())
    config["inference"]["flips"] = flips
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return str(folder)


@pytest.mark.slow
def test_what_was_predicted_by_less_is_that_of_fewer_networks_and_views(
    clock: Clock, trained: Path, tmp_path: Path
) -> None:
    """So it has their key and masks. The same limit again does nothing; without one it is done anew."""
    data = tiny.write(tmp_path / "data", cases=2, days=2).folder
    runs = tuple(with_flips(trained, tmp_path / name, ["x"]) for name in ("a", "b"))
    wanted = InferArguments(all=True, run=runs, data=data, out=tmp_path / "out", engine="torch")
    plain = with_flips(trained, tmp_path / "plain", [])

    done = infer(replace(wanted, max_seconds=7))
    alone = infer(replace(wanted, run=(plain,), out=tmp_path / "alone")).records
    limited, mask = done.records, f"{alone[1].scan}/stomach.nii.gz"
    assert [one.reduced for one in limited] == [FULL, *[LEAST] * 3]
    assert clock.passes == [4, 1, 1, 1, *[1] * 4]
    assert [one.key == other.key for one, other in zip(limited, alone, strict=True)] == [False, *[True] * 3]
    assert limited[1].weights == alone[1].weights != limited[0].weights
    assert (wanted.out / mask).read_bytes() == (tmp_path / "alone" / mask).read_bytes()
    told = "case1_day1, case2_day0, case2_day1"
    assert f"{told}: by {LEAST}, to keep --max-time; without it they are predicted anew" in done.notes

    clock.passes.clear()
    again = infer(replace(wanted, max_seconds=7)).records
    assert [(one.key, one.reduced) for one in again] == [(one.key, one.reduced) for one in limited]
    assert clock.passes == []
    assert [one.reduced for one in infer(wanted).records] == [FULL] * 4
    assert clock.passes == [4] * 3
