import subprocess
import sys
from pathlib import Path

from volseg.system import hardware


def test_cores_follow_the_affinity(monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 3, 5}, raising=False)
    monkeypatch.setattr(hardware, "_cgroup_cores", lambda _path: 100)

    assert hardware.available_cores() == 3


def test_cores_follow_the_cgroups_quota(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text("250000 100000\n")
    assert hardware._cgroup_cores(limit) == 2
    limit.write_text("20000 100000\n")
    assert hardware._cgroup_cores(limit) == 1
    limit.write_text("max 100000\n")
    assert hardware._cgroup_cores(limit) > 1000
    assert hardware._cgroup_cores(tmp_path / "none") > 1000


def test_free_memory_is_within_the_machines() -> None:
    assert 0 < hardware.free_memory() < 1 << 50


def test_the_peak_is_that_of_the_process_itself_and_stays_when_memory_is_given_back() -> None:
    """A child of a large process is no larger for it, though ru_maxrss says so on Linux."""
    held = bytearray(300 * 10**6)
    held[::4096] = b"1" * len(held[::4096])
    code = (
        "from volseg.system.hardware import peak_memory; print(peak_memory());"
        "held = b'1' * (100 * 10**6); del held; print(peak_memory())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    small, grown = map(int, told.stdout.split())

    assert hardware.peak_memory() > 300 * 10**6
    assert small < 200 * 10**6
    assert 95 * 10**6 < grown - small < 120 * 10**6
