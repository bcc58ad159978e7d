import json
import subprocess
import sys

import psutil
import pytest

from tests.cohort.toy import ToyWork
from volseg.arguments import CohortArguments
from volseg.cohort.place import this_place
from volseg.cohort.run import run
from volseg.cohort.todo import Todo
from volseg.errors import UserError


def test_without_a_cluster_the_work_is_done_here_and_each_event_told(tmp_path) -> None:
    events = tmp_path / "events.jsonl"

    done = dict(run(ToyWork(tmp_path), ["1-", "2-fails"], CohortArguments(events=events)))

    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert [result[0] for result in done.values()] == ["done", "its files are damaged"]
    assert [(one["event"], one["scan"], one["reason"]) for one in told] == [
        ("begin", "1-", ""),
        ("done", "1-", ""),
        ("begin", "2-fails", ""),
        ("failed", "2-fails", "its files are damaged"),
        ("end", "", ""),
    ]
    assert {(one["host"], one["process"]) for one in told[:-1]} == {this_place()}


def test_one_line_names_the_extra_where_ray_is_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(UserError) as caught:
        dict(run(ToyWork(tmp_path), ["1-"], CohortArguments("ray")))

    assert str(caught.value) == '--on ray: needs Ray, which is not installed; pip install "volseg[ray]"'


def test_nothing_of_ray_is_loaded_where_none_asks_for_it(tmp_path) -> None:
    code = (
        "import sys, volseg.cli, volseg.inference.infer, volseg.preparation.prepare; "
        "import volseg.evaluation.evaluate; volseg.cli.run_command(['infer', '--help']); "
        "print('ray' in sys.modules)"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.splitlines()[-1] == "False"


def test_what_is_put_back_is_for_an_idle_worker_with_its_memory(tmp_path) -> None:
    todo = Todo(ToyWork(tmp_path), ["1-", "3-", "2-"])
    task = todo.take(None, idle=True)

    todo.put_back(task.again(100))

    assert todo.limits_wanted == {None, 100}
    assert task.name == "3-"
    assert todo.take(100, idle=False) is None
    assert todo.take(None, idle=False).name == "2-"
    assert todo.take(100, idle=True).attempt == 2


@pytest.mark.slow
def test_a_cluster_of_this_machine_listens_on_its_loopback_alone(tmp_path, monkeypatch) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    code = """
import sys
from pathlib import Path
from tests.cohort.test_run import listening
from tests.cohort.toy import ToyWork
from volseg.arguments import CohortArguments
from volseg.cohort.run import run
for position, result in run(ToyWork(Path(sys.argv[1])), ["1-", "2-"], CohortArguments("ray")):
    print(*listening())
"""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert (told.returncode, told.stderr) == (0, "")
    places = told.stdout.split()
    assert len(places) >= 5
    assert {place.removeprefix("::ffff:") for place in places} == {"127.0.0.1"}


def listening() -> list[str]:
    """The addresses at which this process and all that it started listen."""
    own = psutil.Process()
    sockets = [one for each in (own, *own.children(recursive=True)) for one in each.net_connections("inet")]
    return [one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN]
