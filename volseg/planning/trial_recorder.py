"""What a trial measures: the seconds of its steps, by their median, and of its validation."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import NamedTuple

from torch import nn

from volseg.training.training import Training

WARM_UP, FEWEST, MOST = 2, 3, 40
"""Steps that are not measured, and the least and most that are, besides those of `prefetched` batches."""
SECONDS = 5.0  # seconds after which enough steps are measured
PATIENCE = 30.0
"""Seconds after the first step from which on two steps are enough: so slow ones wait for no data."""


class ClockTimes(NamedTuple):
    """Seconds on the wall's clock and of the processor, of all threads, after so many steps."""

    steps: int
    wall: float
    processor: float

    def step_since(self, before: "ClockTimes") -> tuple[float, float]:
        """Seconds of a step since then, on the wall's clock and of the processor."""
        steps = self.steps - before.steps
        return (self.wall - before.wall) / steps, (self.processor - before.processor) / steps


@dataclass
class TrialRecorder:
    """The times of the steps of a trial, and when its validation ended.

    Steps are measured once the batches that may be `prefetched` are used up, and several times as many: a
    step that waits for data shows. Before a clock is read that counts, `wait` waits until the device has done
    what it was given. On a device that runs `behind`, only the first and the last are read: to wait for each
    step would slow them. `predicted` are the seconds of validation in which the network was at work.
    """

    wait: Callable[[], object]
    prefetched: int = 0
    behind: bool = False
    times: list[ClockTimes] = field(default_factory=list)
    steps: int = 0
    first: float = math.nan
    done: bool = False
    validated: float = 0.0
    predicted: float = 0.0

    @property
    def measured(self) -> int:
        """The steps that are measured so far."""
        return self.steps - self.times[0].steps if self.times else 0

    @property
    def step_seconds(self) -> tuple[float, float]:
        """The median seconds of a step, on the wall's clock and of the processor."""
        each = [now.step_since(before) for before, now in zip(self.times, self.times[1:], strict=False)]
        wall, processor = zip(*each, strict=True)
        return median(wall), median(processor)

    def attach_to(self, training: Training) -> Training:
        """The training with this recorder as its hooks; it ends when enough steps are measured."""
        self.time_predictions(training.validation.network)

        def on_step(_step: int, _loss: float) -> None:
            if self.measure_step():
                training.clock.end()

        return replace(training, on_step=on_step, on_validation=self._on_validation)

    def time_predictions(self, network: nn.Module) -> None:
        """Add up the seconds in which a network predicts, not those in which it is trained."""
        network.register_forward_pre_hook(self._on_forward_begin)
        network.register_forward_hook(self._on_forward_end)

    def measure_step(self) -> bool:
        """Take note of a step, told when the next is launched; whether enough are measured."""
        if self.done:
            return True
        self.steps += 1
        now = time.monotonic()
        if self.steps == 1:
            self.first = now
        self.done = self._has_enough(now)
        if self.steps == 1 or (self.steps == WARM_UP + self.prefetched and not self.done):
            self.times = [self._read_clocks()]  # what was before does not count
        elif self.done or not self.behind:
            self.times.append(self._read_clocks())
        return self.done

    def _has_enough(self, now: float) -> bool:
        """Whether so many steps are measured, or so slow ones."""
        if self.steps > 1 and now - self.first > PATIENCE:
            return True
        if self.steps < WARM_UP + self.prefetched + FEWEST + 4 * self.prefetched:
            return False
        return self.measured >= MOST or now - self.times[0].wall > SECONDS

    def _read_clocks(self) -> ClockTimes:
        self.wait()
        return ClockTimes(self.steps, time.monotonic(), time.process_time())

    def _on_validation(self, _scores: dict[str, float]) -> None:
        self.wait()
        self.validated = time.monotonic()

    def _on_forward_begin(self, network: nn.Module, *_: object) -> None:
        if not network.training:
            self.predicted -= self._read_clocks().wall

    def _on_forward_end(self, network: nn.Module, *_: object) -> None:
        if not network.training:
            self.predicted += self._read_clocks().wall
