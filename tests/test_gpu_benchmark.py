"""`benchmarks/gpu.py`: its parts run on the CPU with small scans and networks, so that they do not rot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--tiny", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_part_runs_on_the_cpu_but_those_that_need_a_gpu(tmp_path: Path) -> None:
    ended = run("--device", "cpu", "--out", tmp_path / "gpu.json")

    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: told for name, told in found.items() if told["status"] == "failed"} == {}, ended.stderr
    assert [name for name, told in found.items() if told["status"] == "skipped"] == ["messages"]
    assert ended.returncode == 0
    assert {name.split()[0] for name in found} == {
        "machine", "data", "config", "steps", "precision", "patches", "inference", "messages"
    }  # fmt: skip
    assert all(told["found"] for told in found.values() if told["status"] == "done")


def test_a_part_that_fails_is_told_with_its_reason_and_leaves_the_others_alone(tmp_path: Path) -> None:
    ended = run("--device", "cuda", "--parts", "machine", "messages", "--out", tmp_path / "gpu.json")

    found = json.loads((tmp_path / "gpu.json").read_text())
    assert ended.returncode == 1
    assert found["machine"]["status"] == found["messages"]["status"] == "failed"
    assert found["machine"]["reason"].startswith("UserError: --device cuda: torch ")
