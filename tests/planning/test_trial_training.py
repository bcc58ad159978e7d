"""What a trial measures, on devices and clocks that are made up; real ones are tried with the estimate."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from volseg.errors import UserError
from volseg.planning import trial_training
from volseg.planning.trial_training import TrialRecorder, gpu_peak, synchronize, try_order

GB = 10**9


class LateDevice:
    """A device that is given work at once and does it later, with the clock that goes beside it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.busy_until = 100.0, 0.0
        monkeypatch.setattr(trial_training.time, "monotonic", lambda: self.now)

    def give(self, work_seconds: float, launch_seconds: float = 0.001) -> None:
        self.now += launch_seconds
        self.busy_until = max(self.busy_until, self.now) + work_seconds

    def wait(self) -> None:
        self.now = max(self.now, self.busy_until)


@pytest.fixture
def device(monkeypatch) -> LateDevice:
    return LateDevice(monkeypatch)


def step_seconds(recorder: TrialRecorder) -> float:
    return (recorder.end.wall - recorder.begin.wall) / recorder.measured


def test_steps_take_as_long_as_the_device_does_not_as_their_launch(device):
    recorder = TrialRecorder(device.wait)

    device.give(0.05)
    while not recorder.measure_step():
        device.give(0.05)

    assert step_seconds(recorder) == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize("each", [0.06, 0.12, 0.5])
def test_steps_that_wait_for_data_take_as_long_as_the_data_however_many_batches_were_ready(device, each):
    ready, used = [device.now] * 8, []  # when each batch is ready, at most 8 of them ahead of the step
    recorder = TrialRecorder(device.wait, prefetched=8)

    while True:
        number = len(used)
        if number >= len(ready):
            ready.append(max(ready[-1], used[number - 8]) + each)
        device.now = max(device.now, ready[number])
        used.append(device.now)
        device.give(0.05)
        device.wait()
        if recorder.measure_step():
            break

    assert step_seconds(recorder) == pytest.approx(each, rel=0.2)


def test_predictions_count_what_the_device_does_with_them_and_training_is_left_out(device):
    class Network(nn.Module):
        def forward(self, image):
            device.give(2.0)
            return image

    network, recorder = Network(), TrialRecorder(device.wait)
    recorder.time_predictions(network)

    network.train()(torch.zeros(1))
    device.wait()
    network.eval()(torch.zeros(1))

    assert recorder.predicted == pytest.approx(2.0, abs=0.01)


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
