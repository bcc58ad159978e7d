"""Laws of when training ends, and of what it says then."""

import pytest

from volseg.config.sections import Train
from volseg.training.stopping import FEW_STEPS, TrainingClock, stop_reason

SETTINGS = Train(steps=1000)


@pytest.mark.parametrize("step", [1, FEW_STEPS - 1, FEW_STEPS, 999])
def test_a_time_limit_tells_the_steps_and_that_few_teach_nothing(step: int) -> None:
    reason = stop_reason(SETTINGS, step, 0, TrainingClock(60, before=61))

    assert f"{step} of 1000 steps" in reason
    assert ("give more with --max-time" in reason) == (step < FEW_STEPS)


def test_training_goes_on_while_steps_and_time_are_left() -> None:
    assert not stop_reason(SETTINGS, 1, 0, TrainingClock(60))
    assert not stop_reason(SETTINGS, 1, 0, TrainingClock(None))
    assert stop_reason(SETTINGS, 1000, 0, TrainingClock(60)) == "all 1000 steps are done"
