"""What a trial measures of steps and predictions, on devices and clocks that are made up."""

from itertools import cycle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from volseg.planning import trial_recorder
from volseg.planning.trial_recorder import MOST, PATIENCE, SECONDS, TrialRecorder


class LateDevice:
    """A device that is given work at once and does it later, with the clock that goes beside it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.busy_until = 100.0, 0.0
        monkeypatch.setattr(trial_recorder.time, "monotonic", lambda: self.now)

    def give(self, work_seconds: float, launch_seconds: float = 0.001) -> None:
        self.now += launch_seconds
        self.busy_until = max(self.busy_until, self.now) + work_seconds

    def wait(self) -> None:
        self.now = max(self.now, self.busy_until)


@pytest.fixture
def device(monkeypatch) -> LateDevice:
    return LateDevice(monkeypatch)


def test_steps_take_as_long_as_the_device_does_not_as_their_launch(device):
    recorder = TrialRecorder(device.wait, behind=True)

    device.give(0.05)
    while not recorder.measure_step():
        device.give(0.05)

    assert recorder.step_seconds[0] == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("each", [0.06, 0.12, 0.5])
def test_steps_that_wait_for_data_take_as_long_as_the_data_however_many_batches_were_ready(
    device, each, behind
):
    ready, used = [device.now] * 8, []  # when each batch is ready, at most 8 of them ahead of the step
    recorder = TrialRecorder(device.wait, prefetched=8, behind=behind)

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

    assert recorder.step_seconds[0] == pytest.approx(each, rel=0.2)


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


def measured(steps, prefetched: int = 0) -> tuple[TrialRecorder, float]:
    """A recorder that had steps of so many seconds on the wall and of the processor, and what they took."""
    recorder, now, processor = TrialRecorder(lambda: None, prefetched), 0.0, 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_recorder.time, "monotonic", lambda: now)
        patch.setattr(trial_recorder.time, "process_time", lambda: processor)
        for wall, worked in steps:
            now, processor = now + wall, processor + worked
            if recorder.measure_step():
                break
    return recorder, now


@given(st.lists(st.floats(18, 28), min_size=9, max_size=9), st.integers(0, 8))
def test_slow_steps_are_given_up_after_few_however_many_batches_were_ready(seconds, prefetched):
    recorder, spent = measured([(one, one) for one in seconds], prefetched)

    assert recorder.done
    assert recorder.steps <= 3
    assert spent <= PATIENCE + 2 * 28
    assert 18 <= recorder.step_seconds[0] <= 28


@given(st.lists(st.floats(1e-4, 100), min_size=1, max_size=20), st.integers(0, 8))
def test_a_trial_ends_soon_after_its_patience_whatever_its_steps_take(seconds, prefetched):
    recorder, spent = measured(cycle([(one, one) for one in seconds]), prefetched)

    assert recorder.done
    assert spent <= seconds[0] + PATIENCE + max(seconds)
    assert recorder.measured <= max(MOST, 3 + 4 * prefetched)
    assert min(seconds) * 0.999 <= recorder.step_seconds[0] <= max(seconds) * 1.001


def test_some_disturbed_steps_do_not_change_the_seconds_of_a_step():
    recorder, _ = measured(cycle([(0.2, 0.2), (0.2, 0.2), (0.2, 0.2), (3.0, 0.2)]))

    assert recorder.step_seconds == pytest.approx((0.2, 0.2))
    assert recorder.times[-1].wall - recorder.times[0].wall > SECONDS
