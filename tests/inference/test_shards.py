"""Shares of the scans: each scan in one, of about one size, the same in every process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.arguments import InferArguments, Shard, parse_shard
from volseg.cli.app import app
from volseg.errors import UserError
from volseg.inference.infer import infer
from volseg.inference.scan_sources import ScanSource
from volseg.inference.shards import scans_of_shard


class Sized(ScanSource):
    """A scan of a size that is known without its files."""

    voxels = 0


def sized(name: str, case: str, voxels: int) -> ScanSource:
    source = Sized(name, case)
    source.__dict__["voxels"] = voxels
    return source


SOURCES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 900)), max_size=20).map(
    lambda sizes: [sized(f"s{n}", f"case{case}", voxels) for n, (case, voxels) in enumerate(sizes)]
)


@given(SOURCES, st.integers(1, 4))
def test_each_scan_is_in_one_share_and_days_of_a_case_are_together(sources, of) -> None:
    shares = [scans_of_shard(sources, Shard(number, of)) for number in range(of)]

    assert sorted(one.name for share in shares for one in share) == sorted(one.name for one in sources)
    for share in shares:
        assert [one for one in sources if one in share] == share
    assert sum(len({one.case for one in share}) for share in shares) == len({one.case for one in sources})


@given(SOURCES, st.integers(1, 4))
def test_shares_differ_by_no_more_than_the_largest_case(sources, of) -> None:
    sizes = [sum(one.voxels for one in scans_of_shard(sources, Shard(n, of))) for n in range(of)]
    cases = [sum(one.voxels for one in sources if one.case == case) for case in {s.case for s in sources}]

    assert max(sizes) - min(sizes) <= max(cases, default=0) + len(cases)


def test_what_is_large_is_weighed_up_by_several_that_are_small() -> None:
    """Of cases of 90, 50 and two of 20 voxels the largest is a share by itself."""
    sources = [sized(f"s{case}", case, voxels) for case, voxels in zip("abcd", (20, 90, 50, 20), strict=True)]

    assert [[one.case for one in scans_of_shard(sources, Shard(n, 2))] for n in (0, 1)] == [
        ["b"],
        ["a", "c", "d"],
    ]


def test_scans_without_a_case_are_cases_of_their_own() -> None:
    sources = [sized(name, "", 5) for name in "abcd"]

    assert [[one.name for one in scans_of_shard(sources, Shard(n, 2))] for n in (0, 1)] == [
        ["a", "c"],
        ["b", "d"],
    ]


@pytest.mark.parametrize("text", ["2/2", "1", "-1/2", "0/0", "a/b", "1/2/3", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--shard: .* expected e\.g\. 0/2 and 1/2"):
        parse_shard(text)


def in_array(monkeypatch, **numbers: object) -> None:
    """The environment of a task: TASK_ID and so on; without any, that outside of an array."""
    for name in ("TASK_ID", "TASK_MIN", "TASK_MAX", "TASK_COUNT", "TASK_STEP"):
        monkeypatch.delenv(f"SLURM_ARRAY_{name}", raising=False)
    for name, number in numbers.items():
        monkeypatch.setenv(f"SLURM_ARRAY_{name}", str(number))


@pytest.mark.parametrize("first", [0, 1])
def test_the_tasks_of_a_slurm_array_have_all_shares_once(monkeypatch, first: int) -> None:
    shares = []
    for task in range(first, first + 5):
        in_array(monkeypatch, TASK_ID=task, TASK_MIN=first, TASK_MAX=first + 4, TASK_COUNT=5, TASK_STEP=1)
        shares.append(parse_shard("slurm"))

    assert shares == [Shard(number, 5) for number in range(5)]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ({}, "not in a SLURM array; submit with e.g. sbatch --array=0-15"),
        ({"TASK_ID": 2}, "expected four numbers"),
        ({"TASK_ID": 2, "TASK_MIN": 0, "TASK_MAX": "8x", "TASK_COUNT": 5}, "SLURM_ARRAY_TASK_MAX=8x"),
        ({"TASK_ID": 2, "TASK_MIN": 0, "TASK_MAX": 8, "TASK_COUNT": 5, "TASK_STEP": 2}, "--array=0-4"),
        ({"TASK_ID": 7, "TASK_MIN": 1, "TASK_MAX": 7, "TASK_COUNT": 3, "TASK_STEP": 1}, "a step or gaps"),
        ({"TASK_ID": 9, "TASK_MIN": 0, "TASK_MAX": 3, "TASK_COUNT": 4, "TASK_STEP": 1}, "a step or gaps"),
        ({"TASK_ID": 3, "TASK_MIN": 3, "TASK_MAX": 3, "TASK_COUNT": 1}, "use scontrol requeue"),
        ({"TASK_ID": 0, "TASK_MIN": 0, "TASK_MAX": 0, "TASK_COUNT": 1}, "two tasks or more"),
        ({"TASK_ID": 4, "TASK_MIN": 3, "TASK_MAX": 5, "TASK_COUNT": 3}, "begins at 0 or 1"),
    ],
)
def test_what_is_no_whole_array_is_refused_by_one_line(monkeypatch, numbers: dict, text: str) -> None:
    in_array(monkeypatch, **numbers)

    with pytest.raises(UserError) as error:
        parse_shard("slurm")

    assert str(error.value).startswith("--shard slurm: ")
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_an_array_alone_makes_no_shares(monkeypatch) -> None:
    """People pass the number of their task to --case and others: a share must be asked for."""
    in_array(monkeypatch, TASK_ID=2, TASK_MIN=0, TASK_MAX=4, TASK_COUNT=5)

    _, arguments, _ = app.parse_args(["infer", "--case", "case2"], exit_on_error=False, print_error=False)

    assert arguments.kwargs["options"].shard is None


def told(out: Path) -> dict[str, dict]:
    """All that the records of a folder say of each scan but where and how fast it was computed."""
    records = json.loads((out / "predictions.json").read_text())
    return {one["scan"]: {**one, "seconds": {}, "computed": {}} for one in records}


@pytest.mark.slow
def test_two_processes_at_a_time_make_the_masks_of_one(data: Path, trained: Path, tmp_path: Path) -> None:
    """Into one folder, each its share; the list of predictions has those of both."""
    words = [sys.executable, "-m", "volseg", "infer", "--all", "--data", str(data), "--run", str(trained)]
    words += ["--engine", "torch", "--out", str(tmp_path / "shares")]
    both = [subprocess.Popen([*words, "--shard", f"{number}/2"]) for number in (0, 1)]
    one = infer(
        InferArguments(all=True, data=data, run=(str(trained),), engine="torch", out=tmp_path / "one")
    )

    assert [process.wait() for process in both] == [0, 0]
    assert len(one.records) == 18
    assert told(tmp_path / "shares") == told(tmp_path / "one")
    masks = {
        out: {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*.gz")}
        for out in ("shares", "one")
    }
    assert masks["shares"] == masks["one"]
    assert not list((tmp_path / "shares").glob(".*"))


@pytest.mark.slow
def test_a_share_that_no_scan_falls_to_is_done_at_once(data: Path, trained: Path, tmp_path: Path) -> None:
    wanted = InferArguments(
        case=("case3_day1",), data=data, run=(str(trained),), out=tmp_path / "o", shard=Shard(1, 2)
    )
    done = infer(wanted)

    assert done.records == ()
    assert done.notes == ("--shard 1/2: has none of the 1 scan; nothing is predicted",)
