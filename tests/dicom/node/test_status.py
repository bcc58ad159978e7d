"""What a node's files say of it, without asking it."""

from pathlib import Path

import pytest
import yaml

from tests.dicom_node import values
from volseg.cli import run_command
from volseg.dicom.node.status import NodeStatus

NOW = 1e9
FRESH = {
    "state": "running", "pid": 1, "listens_at": "VOLSEG at 127.0.0.1:11112", "started": NOW - 100,
    "updated": NOW - 1, "contouring_seen": NOW - 1, "sending_seen": NOW - 1, "free_bytes": 2 * 10**9,
    "min_free_bytes": 10**9,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"state": "draining"}, ""),
        ({"state": "stopped"}, "it was stopped"),
        ({"updated": NOW - 61}, "it is dead: no sign of life for 61 s"),
        ({"contouring_seen": NOW - 600}, "contouring is stuck: nothing for 10 min"),
        ({"sending_seen": NOW - 600}, "sending is stuck: nothing for 10 min"),
        ({"free_bytes": 5 * 10**8}, "images are refused: only 500 MB are free"),
    ],
)
def test_a_node_that_does_not_work_is_told(changes, problem) -> None:
    assert "; ".join(NodeStatus(**{**FRESH, **changes}).problems(NOW)) == problem


@pytest.mark.parametrize(("age", "code"), [(0, 0), (3600, 1)])
def test_the_exit_code_says_whether_the_node_lives(tmp_path, monkeypatch, capsys, age, code) -> None:
    import time

    now = time.time()
    moments = dict.fromkeys(("updated", "contouring_seen", "sending_seen", "last_success"), now - age)
    NodeStatus(**{**FRESH, **moments, "waiting": 3, "dead": 2}).write(tmp_path / "spool")
    config = tmp_path / "node.yaml"
    config.write_text(yaml.safe_dump(values(tmp_path / "spool")))

    assert run_command(["node", str(config), "--status"]) == code
    told = {words[0].strip(): words[1].strip() for line in capsys.readouterr().out.splitlines()
            if len(words := line.strip("│┌└ ").split("│")) == 2}  # fmt: skip
    assert (told["waiting"], told["dead letters"], told["disk free"]) == ("3", "2", "2.0 GB")
    assert told["last failure"] == "never"
    assert [path.name for path in Path(tmp_path / "spool").iterdir()] == ["status.json"]
