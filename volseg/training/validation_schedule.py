"""When the weights are validated: at every `train.epoch_steps`-th step, or as often as time allows."""

import math
from collections.abc import Sequence

from volseg.config.sections import Train

SHARE = 0.15
"""The largest share of a run's time that validation takes where `train.epoch_steps` leaves it open."""
EVERY, FIRST = 50, 250
"""Validation comes at multiples of so many steps, for the first time at this one."""
EARLY = 0.1
"""The share of a time limit after which the first comes sooner, so that time can be kept for the last."""
LONGEST, TRIED = 0.25, 0.05
"""The share of a time limit that a validation before the last may take, and after which that is judged."""
MOST = 100
"""Validations of a run, about, where there would be time for more."""


def is_due(
    settings: Train, step: int, last: int, *, taken: Sequence[float], seconds: float, limit: float | None
) -> bool:
    """Whether the weights at a step are to be validated before training goes on.

    `last` is the step of the last validation (0: none), `taken` the seconds of each validation so far,
    `seconds` the time of the run so far, `limit` what it may be (None: any). The next validation is expected
    to take as long as the last.
    """
    if step <= last:
        return False
    if settings.epoch_steps:
        return step % settings.epoch_steps == 0
    if step % EVERY:
        return False
    if not taken:
        return step >= FIRST or (limit is not None and seconds >= EARLY * limit)
    return step - last >= settings.steps / MOST and sum(taken) + taken[-1] <= SHARE * seconds


def is_too_long(settings: Train, seconds: float, *, expected: float, limit: float | None) -> bool:
    """Whether a validation before the last is to be given up, as it leaves too little time for training.

    It has taken so many seconds and is `expected` to take so many in all. The last will take as long.
    """
    if settings.epoch_steps or limit is None:
        return False
    return seconds > TRIED * limit and expected > LONGEST * limit


def expected_epoch_steps(settings: Train, step_seconds: float, validation_seconds: float) -> int:
    """The steps from one validation to the next: those that are set, or about as many as will be chosen."""
    if settings.epoch_steps:
        return settings.epoch_steps
    affordable = validation_seconds * (1 / SHARE - 1) / step_seconds
    steps = EVERY * math.ceil(max(affordable, settings.steps / MOST, 1) / EVERY)
    return min(steps, settings.steps)
