import pytest

from volseg.system import timing
from volseg.system.timing import StepTimer


@pytest.fixture
def sleep(monkeypatch):
    """Lets time pass on a clock that nothing else moves."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_a_step_within_another_counts_once(sleep) -> None:
    spent = StepTimer()

    with spent.step("outer"):
        sleep(2)
        with spent.step("inner"):
            sleep(5)
        sleep(1)

    assert spent.by_step == {"inner": 5, "outer": 3}


def test_the_time_of_making_items_counts_and_not_that_of_using_them(sleep) -> None:
    def slow():
        for number in range(2):
            sleep(2)
            yield number

    spent = StepTimer()
    for _ in spent.time_items("made", slow()):
        sleep(5)

    assert spent.by_step == {"made": 4}


def test_a_step_that_fails_is_counted_too() -> None:
    spent = StepTimer()
    with pytest.raises(KeyError), spent.step("failing"):
        raise KeyError

    assert "failing" in spent.by_step


def test_times_of_two_add_up() -> None:
    one = StepTimer({"a": 1.0})
    one.add(StepTimer({"a": 2.0, "b": 3.0}))

    assert one.by_step == {"a": 3.0, "b": 3.0}
