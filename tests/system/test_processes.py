import multiprocessing
import os
import signal
import time

import pytest

from volseg.errors import UserError
from volseg.system import processes
from volseg.system.processes import map_unordered


def square(number):
    return number * number


def deadly(number):
    if number in (2, 5):
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def wrong(number):
    raise ValueError(f"no {number}")


def died(number):
    return f"{number} died"


@pytest.mark.parametrize("workers", [1, 2])
def test_each_item_has_its_outcome_whatever_the_workers(workers):
    outcomes = dict(map_unordered(square, [3, 1, 2], workers=workers, died=died))

    assert outcomes == {0: 9, 1: 1, 2: 4}


@pytest.mark.parametrize("workers", [1, 2])
def test_no_items_are_no_work(workers):
    assert list(map_unordered(square, [], workers=workers, died=died)) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
def test_a_worker_that_is_killed_costs_only_its_own_item():
    outcomes = dict(map_unordered(deadly, list(range(7)), workers=2, died=died))

    assert outcomes == {0: 0, 1: 1, 2: "2 died", 3: 9, 4: 16, 5: "5 died", 6: 36}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_is_raised_as_it_is(workers):
    with pytest.raises(ValueError, match="no 4"):
        list(map_unordered(wrong, [4, 4], workers=workers, died=died))


def test_a_task_apart_returns_and_raises_as_it_would_here_but_in_another_process() -> None:
    assert processes.run_in_subprocess(_process, 3) == 3
    with pytest.raises(UserError, match="4: no"):
        processes.run_in_subprocess(_refuses, 4)


def _process(number: int) -> int:
    assert multiprocessing.parent_process() is not None
    return number


def _refuses(number: int) -> None:
    raise UserError(f"{number}: no")


def line(events: list[str], *, beside: bool) -> list[str]:
    """Three items, each step of which is noted as it begins and ends."""

    def step(name: str):
        def run(item: str) -> str:
            events.append(f"{name} {item}")
            if name != "here":
                time.sleep(0.02)
            events.append(f"{name} {item} done")
            return item

        return run

    return list(
        processes.pipelined(
            ["a", "b", "c"], step("before"), step("here"), step("after"), beside=lambda _: beside
        )
    )


@pytest.mark.parametrize("beside", [True, False])
def test_overlapped_steps_give_all_items_in_order(beside: bool) -> None:
    events: list[str] = []

    assert line(events, beside=beside) == ["a", "b", "c"]

    for item in "abc":
        steps = [event for event in events if event.split()[1] == item]
        assert [event.split()[0] for event in steps] == ["before"] * 2 + ["here"] * 2 + ["after"] * 2


def test_without_room_nothing_happens_beside_an_item() -> None:
    events: list[str] = []
    line(events, beside=False)

    for item in "abc":
        before = events[: events.index(f"here {item}")]
        begun = {event for event in before if not event.endswith("done")}
        assert {f"{event} done" for event in begun} <= set(before)
        assert events[len(before) + 1] == f"here {item} done"


def test_with_room_the_next_is_prepared_before_the_last_is_finished() -> None:
    events: list[str] = []
    line(events, beside=True)

    assert events.index("before b") < events.index("after a done")


def test_nothing_is_overlapped_of_nothing() -> None:
    assert not list(processes.pipelined([], str, str, str, beside=lambda _: True))


def test_what_is_made_ahead_is_the_same_and_fails_in_its_place() -> None:
    def items():
        yield from (1, None, 3)
        raise UserError("no fourth")

    found = []
    with pytest.raises(UserError, match="no fourth"):
        found.extend(processes.prefetch(items()))

    assert list(processes.prefetch(iter([1, None, 3]))) == [1, None, 3]


@pytest.mark.parametrize("folder", ["/a/very/long/place" * 5, None])
def test_workers_need_no_short_temporary_folder_nor_any(monkeypatch, folder) -> None:
    def place() -> str:
        if folder is None:
            raise FileNotFoundError(2, "No usable temporary directory found")
        return folder

    assert processes._worker_context().get_start_method() == "forkserver"
    monkeypatch.setattr(processes.tempfile, "gettempdir", place)

    assert processes._worker_context().get_start_method() == "spawn"
    processes.preload(["volseg.errors"])
