"""The sight of a cohort: counts, rate and time left, in a table, a bar or lines of a log."""

import io
import logging
import sys

import pytest
from rich.console import Console

from volseg import console
from volseg.cohort import sight
from volseg.cohort.sight import Sight, progress


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quiet(clock: Clock, total: int) -> Sight:
    return Sight("predicting", total, changed=lambda _sight, _name: None, clock=clock)


def drawn(shown: Sight, width: int = 80) -> str:
    out = Console(file=io.StringIO(), width=width)
    out.print(shown)
    return out.file.getvalue()


def test_the_rate_is_of_the_last_minutes_and_tells_the_time_left(clock: Clock) -> None:
    shown = quiet(clock, 100)
    for _ in range(50):  # one burst of scans that were done before
        shown.done("old", "n1", failed=False)
    clock.now += 10 * 60
    for number in range(5):
        shown.done(f"s{number}", "n1", failed=number == 0)
        clock.now += 15

    assert shown.summary() == "54 of 100 scans done, 1 failed, 45 left, 3.2 a minute, 14 min to go"


def test_one_scan_makes_no_rate_and_none_left_no_time(clock: Clock) -> None:
    shown = quiet(clock, 2)
    shown.done("a", "n1", failed=False)
    assert shown.summary() == "1 of 2 scans done, 0 failed, 1 left"

    clock.now += 60
    shown.done("b", "n1", failed=False)
    assert shown.summary() == "2 of 2 scans done, 0 failed, 0 left, 1 a minute"


def test_the_table_has_a_row_a_node_and_one_of_all_within_80_columns(clock: Clock) -> None:
    shown = quiet(clock, 9)
    shown.workers("node10", 2)
    shown.workers("node2", 1)
    shown.done("a", "node10", failed=False)
    shown.done("b", "node2", failed=True)
    shown.done("c", "", failed=False)

    text = drawn(shown)
    rows = [line.replace("│", " ").split() for line in text.splitlines() if line.startswith("│")]

    assert rows == [
        ["node2", "1", "0", "1", "0"],
        ["node10", "2", "1", "0", "0"],
        ["this", "machine", "0", "1", "0", "0"],
        ["all", "3", "2", "1", rows[-1][-1]],
    ]
    assert "2 of 9 scans done, 1 failed, 6 left" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_a_worker_that_goes_is_no_longer_counted(clock: Clock) -> None:
    shown = quiet(clock, 9)
    shown.workers("n1", 2)
    shown.workers("n2", 2)
    shown.workers("n1", 1)

    assert shown.all.workers == 3


def test_without_a_terminal_there_is_a_line_at_most_every_half_minute(clock: Clock, caplog) -> None:
    caplog.set_level(logging.INFO, "volseg.cohort")
    with progress("predicting", 100, on=True, clock=clock) as shown:
        for number in range(100):
            shown.done(f"s{number}", "n1", failed=False)
            clock.now += 1
        said = [record.message for record in caplog.records]

    assert [text.partition(" of")[0] for text in said] == [
        "predicting: 31",
        "predicting: 61",
        "predicting: 91",
    ]


def test_on_a_terminal_log_lines_stand_above_the_table(clock: Clock, monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    log = logging.getLogger("volseg")
    before, level, propagate = log.handlers, log.level, log.propagate
    console.configure_logging()
    try:
        with progress("predicting", 2, on=True, clock=clock) as shown:
            shown.workers("n1", 1)
            shown.retry("case1", "its node was lost")
            shown.done("case1", "n1", failed=False)
    finally:
        log.handlers, log.level, log.propagate = before, level, propagate
    text = terminal.getvalue()

    assert "case1: once more, by another worker: its node was lost" in text
    assert "1 of 2 scans done" in text
    assert text.index("once more") < text.rindex("1 of 2 scans done")


def test_here_there_is_the_bar_of_today(clock: Clock, monkeypatch) -> None:
    moved = []

    class Bar:
        def __enter__(self):
            return lambda done, total, note: moved.append((done, total, note))

        def __exit__(self, *_error) -> None: ...

    monkeypatch.setattr(sight.console, "bars_shown", lambda: True)
    monkeypatch.setattr(sight.console, "progress_bar", lambda _label: Bar())
    with progress("predicting", 2, on=False, clock=clock) as shown:
        shown.done("a", "", failed=False)
        shown.done("b", "", failed=True)

    assert moved == [(1, 2, "a"), (2, 2, "b")]
