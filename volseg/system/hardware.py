"""Cores by affinity and cgroup quota, memory, processor features and GPUs of this machine."""

import logging
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")
UNLIMITED = 1 << 20
log = logging.getLogger(__name__)


def machine_cores() -> int:
    """The processor cores on which this process may be put, by affinity and cgroup, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _cgroup_cores(Path("/sys/fs/cgroup/cpu.max"))))


def available_cores(sharing: int = 1) -> int:
    """The cores that this process may use, at least 1, where `sharing` processes share the machine's.

    They are no more than OMP_NUM_THREADS and SLURM_CPUS_PER_TASK give each process.
    """
    given = (_given_cores(name, os.environ.get(name, "")) for name in THREADS)
    return max(1, min(machine_cores() // sharing, *given))


@cache
def _given_cores(name: str, text: str) -> int:
    """The cores that a variable of the environment gives each process; a wrong value is told once."""
    if not text.strip():
        return UNLIMITED
    if text == "1" and name == THREADS[0] and "TORCHELASTIC_RUN_ID" in os.environ:
        return UNLIMITED  # torchrun's own, whoever starts it
    number = text.partition(",")[0].strip()  # the first is that of the outermost loops
    if not number.isdecimal() or not int(number):
        log.warning("%s=%s: is no number of threads, so it is not heeded; give one from 1 on", name, text)
        return UNLIMITED
    return int(number)


def free_memory() -> int:
    """Bytes of memory that are free without swapping, within the cgroup's limit."""
    import psutil

    available = int(psutil.virtual_memory().available)
    limit = _read_number(Path("/sys/fs/cgroup/memory.max"))
    used = _read_number(Path("/sys/fs/cgroup/memory.current"))
    if limit is None or used is None:
        return available
    return max(0, min(available, limit - used))


def peak_memory() -> int:
    """The peak of this process's memory in bytes.

    Linux's `ru_maxrss` counts the parent's memory as well, so there VmHWM is read.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        peaks = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(next(peaks)) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def spin_briefly() -> None:
    """Shorten the spinning of torch's threads that wait, here and in child processes.

    Long spins slow a busy machine to less than half; short ones cost an idle machine a tenth
    (benchmarks/waiting_threads.py).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX-512 BF16, AMX, or Arm's)."""
    listing = Path("/proc/cpuinfo")
    if not listing.is_file():
        return False
    flags = set(listing.read_text().split())
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def has_gpu() -> bool:
    """Whether there seems to be a GPU for torch, found without loading torch."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1", "none")
    known = any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/kfd", "/dev/dxg"))
    return not hidden and (known or shutil.which("nvidia-smi") is not None)


def gpu_memory_in_use() -> dict[str, int]:
    """Bytes in use on each GPU by its UUID, as nvidia-smi tells, which leaves no trace there; else empty."""
    if shutil.which("nvidia-smi") is None:
        return {}
    query = ["nvidia-smi", "--query-gpu=uuid,memory.used", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    rows = [line.split(", ") for line in answer.stdout.splitlines()] if answer.returncode == 0 else []
    return {uuid.removeprefix("GPU-"): int(mib) * 2**20 for uuid, mib in rows if mib.isdecimal()}


def _cgroup_cores(path: Path) -> int:
    fields = path.read_text().split() if path.is_file() else []
    if len(fields) != 2 or not fields[0].isdigit():
        return UNLIMITED
    return max(1, round(int(fields[0]) / int(fields[1])))


def _read_number(path: Path) -> int | None:
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None
