import time

import pytest

from volseg.system.timing import StepTimer


def test_a_step_within_another_counts_once() -> None:
    spent = StepTimer()

    with spent.step("outer"):
        time.sleep(0.02)
        with spent.step("inner"):
            time.sleep(0.05)

    assert spent.by_step["inner"] == pytest.approx(0.05, abs=0.02)
    assert spent.by_step["outer"] == pytest.approx(0.02, abs=0.015)


def test_the_time_of_making_items_counts_and_not_that_of_using_them() -> None:
    def slow():
        for number in range(2):
            time.sleep(0.02)
            yield number

    spent = StepTimer()
    for _ in spent.time_items("made", slow()):
        time.sleep(0.05)

    assert spent.by_step["made"] == pytest.approx(0.04, abs=0.03)


def test_a_step_that_fails_is_counted_too() -> None:
    spent = StepTimer()
    with pytest.raises(KeyError), spent.step("failing"):
        raise KeyError

    assert "failing" in spent.by_step


def test_times_of_two_add_up() -> None:
    one = StepTimer({"a": 1.0})
    one.add(StepTimer({"a": 2.0, "b": 3.0}))

    assert one.by_step == {"a": 3.0, "b": 3.0}
