"""The file of events: a line each, whole at any time, and the same keys in all."""

import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from volseg.cohort.events import EventLog
from volseg.errors import OutputError

KEYS = ["time", "event", "work", "scan", "host", "process", "seconds", "attempt", "reason"]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_event_is_a_line_with_the_same_keys(tmp_path: Path) -> None:
    with EventLog(tmp_path / "new" / "events.jsonl", "predicting") as events:
        events.write("begin")
        events.write("done", scan="a", host="n1", process="7-1", seconds=1.5)
        events.write("failed", scan="b\n", reason='"quoted"', attempt=3)

    found = lines(tmp_path / "new" / "events.jsonl")

    assert [list(one) for one in found] == [KEYS] * 3
    assert [(one["event"], one["scan"], one["seconds"], one["attempt"]) for one in found] == [
        ("begin", "", None, 1),
        ("done", "a", 1.5, 1),
        ("failed", "b\n", None, 3),
    ]
    assert {one["work"] for one in found} == {"predicting"}
    age = datetime.now(UTC) - datetime.fromisoformat(found[0]["time"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_a_line_is_there_as_soon_as_it_is_written_and_a_second_run_adds_to_it(tmp_path: Path) -> None:
    path = tmp_path / "events"
    for run in (1, 2):
        with EventLog(path, f"run {run}") as events:
            events.write("begin")
            assert [one["work"] for one in lines(path)] == [f"run {n}" for n in range(1, run + 1)]


def _write_many(path: Path, name: str) -> None:
    with EventLog(path, name) as events:
        for number in range(200):
            events.write("done", scan=f"{name}{number}", reason="x" * 500)


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "events"
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_write_many, args=(path, name)) for name in "ab"]
    for one in both:
        one.start()
    for one in both:
        one.join()

    assert {one["scan"] for one in lines(path)} == {
        f"{name}{number}" for name in "ab" for number in range(200)
    }


def test_without_a_path_and_after_its_end_nothing_is_written(tmp_path: Path) -> None:
    with EventLog(None, "predicting") as nowhere:
        nowhere.write("begin")
    with EventLog(tmp_path / "events", "predicting") as events:
        pass
    events.write("done")

    assert (tmp_path / "events").read_text() == ""


def test_a_file_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="a part of its path is a file"):
        EventLog(tmp_path / "file" / "events", "predicting")
