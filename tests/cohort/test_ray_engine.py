import json
from collections import Counter
from pathlib import Path

import pytest

from tests.cohort.toy import ToyWork
from volseg.arguments import CohortArguments
from volseg.cohort.run import run
from volseg.errors import OutputError

pytestmark = pytest.mark.slow
ON = CohortArguments(on="ray")


def begun(out: Path) -> list[list[str]]:
    """What workers began with: scan, attempt, memory, host and process."""
    return [line.rsplit(" ", 4) for line in (out / "begun.txt").read_text().splitlines()]


def results(work: ToyWork, items: list[str], cohort: CohortArguments = ON) -> dict:
    return dict(run(work, items, cohort))


def test_each_scan_is_done_once_by_workers_of_both_nodes_that_open_once(two_nodes, tmp_path) -> None:
    items = [f"{number}-" for number in range(12)]

    done = results(ToyWork(tmp_path, seconds=0.1), items)

    assert [done[position][1][0] for position in range(12)] == items
    assert Counter(line[0] for line in begun(tmp_path)) == Counter(items)
    assert len({line[4] for line in begun(tmp_path)}) == 2
    assert len((tmp_path / "opened.txt").read_text().splitlines()) == 2


def test_the_largest_come_first(two_nodes, tmp_path) -> None:
    results(ToyWork(tmp_path), [f"{number}-" for number in range(6)])

    assert {line[0] for line in begun(tmp_path)[:2]} <= {"5-", "4-", "3-", "2-"}
    assert {line[0] for line in begun(tmp_path)[-2:]} <= {"0-", "1-", "2-", "3-"}


def test_a_scan_that_kills_its_workers_is_given_up_after_three_and_costs_no_other(
    two_nodes, tmp_path
) -> None:
    items = [*(f"{number}-" for number in range(5)), "9-dies"]

    done = results(ToyWork(tmp_path), items)

    assert [done[position][0] for position in range(5)] == ["done"] * 5
    assert done[5][0].startswith("lost after 3: its process on ")
    assert Counter(line[0] for line in begun(tmp_path))["9-dies"] == 3


def test_a_scan_whose_process_was_killed_goes_to_a_worker_of_half_the_memory(two_nodes, tmp_path) -> None:
    done = results(ToyWork(tmp_path, limit=1 << 30), ["1-", "2-dies once", "3-"])

    assert done[1][:1] == ("done",)
    assert done[1][1][1:3] == (2, 1 << 29)
    assert done[0][1][2] == done[2][1][2] == 1 << 30


def test_a_scan_that_fails_by_itself_is_not_tried_again(two_nodes, tmp_path) -> None:
    done = results(ToyWork(tmp_path), ["1-", "2-fails"])

    assert done[1][0] == "its files are damaged"
    assert [line[0] for line in begun(tmp_path)].count("2-fails") == 1


def test_a_scan_that_another_worker_took_is_tried_again(two_nodes, tmp_path) -> None:
    assert results(ToyWork(tmp_path), ["1-taken"])[0][1][1:3] == (2, 1 << 30)


def test_a_full_disk_ends_the_command(two_nodes, tmp_path) -> None:
    with pytest.raises(OutputError, match="the disk is full"):
        results(ToyWork(tmp_path), ["1-full", "2-"])


def test_a_lost_node_loses_no_scan_and_what_is_done_stays_done(two_nodes, tmp_path) -> None:
    items = [f"{number}-" for number in range(8)]
    events = tmp_path / "events.jsonl"
    done = {}
    for position, result in run(ToyWork(tmp_path, seconds=1.5), items, CohortArguments("ray", events)):
        done[position] = result
        if len(done) == 3:
            two_nodes.kill_node()

    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert sorted(done) == list(range(8))
    assert {result[0] for result in done.values()} == {"done"}
    assert [one["event"] for one in told].count("worker_lost") >= 1
    assert all(result[1][2] == 1 << 30 for result in done.values())
    assert Counter(one["scan"] for one in told if one["event"] == "done") == Counter(items)
