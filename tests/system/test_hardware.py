import subprocess
import sys
from pathlib import Path

import pytest

from volseg.system import hardware


@pytest.fixture(autouse=True)
def _nothing_asked(monkeypatch) -> None:
    for name in (*hardware.THREADS, "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    hardware._given_cores.cache_clear()


def test_cores_follow_the_affinity(monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 3, 5}, raising=False)
    monkeypatch.setattr(hardware, "_cgroup_cores", lambda _path: 100)

    assert hardware.available_cores() == 3


@pytest.mark.parametrize(
    ("openmp", "slurm", "cores", "of_two"),
    [
        ("", "", 8, 4),
        ("1", "", 1, 1),
        ("3,2", "", 3, 3),  # of nested loops
        ("", "2", 2, 2),
        ("6", "2", 2, 2),
        ("6", "", 6, 4),  # each process is given six, the machine has four for each
        ("64", "64", 8, 4),
    ],
)
def test_cores_are_the_least_of_the_machines_and_those_that_a_scheduler_gives_a_process(
    monkeypatch, openmp, slurm, cores, of_two
) -> None:
    monkeypatch.setattr(hardware, "machine_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", openmp)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)

    assert (hardware.available_cores(), hardware.available_cores(2)) == (cores, of_two)


@pytest.mark.parametrize("text", ["0", "-1", "all", "1.5", "²"])
def test_what_is_no_number_of_threads_is_told_once_and_not_heeded(monkeypatch, caplog, text) -> None:
    monkeypatch.setattr(hardware, "machine_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", text)

    with caplog.at_level("WARNING", "volseg"):
        assert [hardware.available_cores() for _ in range(3)] == [8, 8, 8]
    assert [record.message for record in caplog.records] == [
        f"OMP_NUM_THREADS={text}: is no number of threads, so it is not heeded; give one from 1 on"
    ]


def test_the_single_thread_that_torchrun_sets_by_itself_is_nobodys_wish(monkeypatch) -> None:
    monkeypatch.setattr(hardware, "machine_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")

    assert hardware.available_cores(2) == 4


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


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch):
    """A made-up nvidia-smi that prints a text and ends with a code."""

    def write(text: str, code: int = 0) -> None:
        file = tmp_path / "nvidia-smi"
        file.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return write


def test_memory_in_use_is_told_by_gpu_and_unknown_where_nvidia_smi_does_not_tell_it(nvidia_smi) -> None:
    nvidia_smi("GPU-8f6e-11, 1024\nGPU-02ab-22, 3\nMIG-5d, [N/A]")
    assert hardware.gpu_memory_in_use() == {"8f6e-11": 2**30, "02ab-22": 3 * 2**20}

    nvidia_smi("NVIDIA-SMI has failed because it could not talk, 9, to the driver", code=9)
    assert hardware.gpu_memory_in_use() == {}


def test_without_nvidia_smi_nothing_is_known_of_gpus_memory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert hardware.gpu_memory_in_use() == {}
