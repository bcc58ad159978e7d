import os
import signal

import pytest

from volseg.parallel import each


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
    outcomes = dict(each(square, [3, 1, 2], workers=workers, died=died))

    assert outcomes == {0: 9, 1: 1, 2: 4}


@pytest.mark.parametrize("workers", [1, 2])
def test_no_items_are_no_work(workers):
    assert list(each(square, [], workers=workers, died=died)) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
def test_a_worker_that_is_killed_costs_only_its_own_item():
    outcomes = dict(each(deadly, list(range(7)), workers=2, died=died))

    assert outcomes == {0: 0, 1: 1, 2: "2 died", 3: 9, 4: 16, 5: "5 died", 6: 36}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_is_raised_as_it_is(workers):
    with pytest.raises(ValueError, match="no 4"):
        list(each(wrong, [4, 4], workers=workers, died=died))
