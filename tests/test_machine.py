from pathlib import Path

from volseg import machine


def test_cores_follow_the_affinity(monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 3, 5}, raising=False)
    monkeypatch.setattr(machine, "_quota", lambda _path: 100)

    assert machine.cores() == 3


def test_cores_follow_the_cgroups_quota(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text("250000 100000\n")
    assert machine._quota(limit) == 2
    limit.write_text("20000 100000\n")
    assert machine._quota(limit) == 1
    limit.write_text("max 100000\n")
    assert machine._quota(limit) > 1000
    assert machine._quota(tmp_path / "none") > 1000


def test_free_memory_is_within_the_machines() -> None:
    assert 0 < machine.free_memory() < 1 << 50
