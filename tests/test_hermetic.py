"""Tests keep to the CPU, whatever the machine has."""

import os
import subprocess
import sys

import pytest
import torch

from volseg.system.hardware import has_gpu

HIDDEN = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "-1"}


def test_no_test_sees_a_gpu() -> None:
    assert {name: os.environ.get(name) for name in HIDDEN} == HIDDEN
    assert not has_gpu()
    assert torch.cuda.device_count() == 0


@pytest.mark.parametrize(("expression", "hidden"), [("gpu", False), ("", True), ("not slow", True)])
def test_only_the_tests_of_gpus_see_one(tmp_path, expression, hidden) -> None:
    """A machine that shows its GPU 5, as job systems do."""
    (tmp_path / "test_seen.py").write_text(
        "import os, pytest\n"
        "@pytest.mark.gpu\n"
        "def test_seen():\n"
        "    assert os.environ['CUDA_VISIBLE_DEVICES'] == ''\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest",
               "-m", expression, str(tmp_path)]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": "5"}
    )

    assert (done.returncode == 0) == hidden, done.stdout.decode()
