from dataclasses import replace

from tests.cohort.toy import ToyWork
from volseg.cohort.todo import Todo


def test_the_largest_comes_first_and_what_is_put_back_before_all(tmp_path) -> None:
    todo = Todo(ToyWork(tmp_path), ["1-", "3-", "2-"])

    first = todo.take(None, idle=True)
    todo.put_back(first.again(None))

    assert first.name == "3-"
    assert [todo.take(None, idle=True).name for _ in range(3)] == ["3-", "2-", "1-"]
    assert len(todo) == 0


def test_the_limits_that_are_wanted_are_those_of_the_tasks_that_are_left(tmp_path) -> None:
    todo = Todo(ToyWork(tmp_path), ["1-", "2-"])
    assert todo.limits_wanted == {None}

    halved = replace(todo.take(None, idle=True), attempt=2, max_memory=512)
    todo.put_back(halved)
    assert todo.limits_wanted == {None, 512}
    assert todo.take(512, idle=False) is None  # it must be alone

    assert todo.take(512, idle=True) == halved
    assert todo.limits_wanted == {None}
    todo.take(None, idle=True)
    assert todo.limits_wanted == set()
