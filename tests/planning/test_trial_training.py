"""What a trial measures, on devices and clocks that are made up; real ones are tried with the estimate."""

from types import SimpleNamespace

import pytest
import torch

from volseg.errors import UserError
from volseg.planning import trial_training
from volseg.planning.trial_training import gpu_peak, synchronize, try_order

GB = 10**9


def test_a_gpus_memory_is_what_torch_reserved_at_the_peak_and_the_context_without_other_programs(monkeypatch):
    made_up = {
        "mem_get_info": lambda _: (9 * GB, 16 * GB),
        "memory_reserved": lambda _: 4 * GB,
        "max_memory_reserved": lambda _: 5 * GB,
        "get_device_properties": lambda _: SimpleNamespace(uuid="1-2"),
    }
    for name, answer in made_up.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    gpu = torch.device("cuda", 0)

    # 7 GB are in use: 4 torch's, 2 of others, so 1 the context
    assert gpu_peak(gpu, {"1-2": 2 * GB, "3-4": 8 * GB}) == 6 * GB
    assert gpu_peak(gpu, {}) == 8 * GB  # others are not known: all counts
    assert gpu_peak(gpu, {"1-2": 7 * GB}) == 5 * GB  # others have ended meanwhile


def test_only_a_device_that_runs_behind_is_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))

    for name in ("cpu", "cuda:1", "mps"):
        synchronize(torch.device(name))

    assert waited == [torch.device("cuda", 1), "mps"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling ..."), "out_of_memory"),
        (RuntimeError("GET was unable to find an engine to execute this computation"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (UserError("data: none"), "mistake"),
    ],
)
def test_too_little_memory_and_mistakes_are_told_apart(error, outcome, monkeypatch, tmp_path):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(trial_training, "run_trial", fail)
    found = try_order(SimpleNamespace(), tmp_path)

    assert found.measurements is None
    assert found.out_of_memory == (outcome == "out_of_memory")
    assert bool(found.mistake) == (outcome == "mistake")


def test_a_fault_of_ours_is_no_outcome(monkeypatch, tmp_path):
    def fail(*_: object) -> None:
        raise ValueError("shapes")

    monkeypatch.setattr(trial_training, "run_trial", fail)

    with pytest.raises(ValueError, match="shapes"):
        try_order(SimpleNamespace(), tmp_path)
