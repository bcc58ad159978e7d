"""The parts of a training."""

from collections.abc import Callable
from dataclasses import dataclass

from volseg.runs.run import Run
from volseg.training.loading.loader import TrainingPatches
from volseg.training.state import TrainingState
from volseg.training.step import Stepper
from volseg.training.stopping import TrainingClock, stop_reason
from volseg.training.validation import Validation

OnStep = Callable[[int, float], object]
"""Called after each step with the steps that are done with it and its loss, when the next one is launched."""
OnValidation = Callable[[dict[str, float]], object]
"""Called after each validation with its scores."""


@dataclass(frozen=True)
class Training:
    """The parts of a training, and its hooks, which take no part in it.

    `beside`: validation may go on beside training, where the device has room.
    """

    run: Run
    state: TrainingState
    patches: TrainingPatches
    stepper: Stepper
    validation: Validation
    clock: TrainingClock
    beside: bool = False
    on_step: OnStep = lambda step, loss: None  # noqa: ARG005
    on_validation: OnValidation = lambda scores: None  # noqa: ARG005

    @property
    def is_ending(self) -> bool:
        """Whether the next validation is the last (unless its score is the better one that was awaited)."""
        return bool(self.state.step and self._reason)

    @property
    def stop_reason(self) -> str:
        """Why training is over; empty while it is not, or its last step is not validated."""
        return self._reason if self.state.rows and self.state.step == self.state.validated_step else ""

    @property
    def _reason(self) -> str:
        state = self.state
        return stop_reason(self.run.config.train, state.step, state.epochs_since_best, self.clock)

    @property
    def progress_share(self) -> float:
        """The share of the run that is done: of its steps or of its time, whichever is further."""
        return max(self.state.step / self.run.config.train.steps, self.clock.share_spent())
