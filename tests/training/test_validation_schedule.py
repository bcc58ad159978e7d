"""Laws of when the weights are validated."""

import pytest

from volseg.config.sections import Train
from volseg.training.validation_schedule import (
    EVERY,
    FIRST,
    MOST,
    SHARE,
    expected_epoch_steps,
    is_due,
    is_too_long,
)


def test_a_number_of_steps_is_kept_whatever_validation_takes() -> None:
    assert expected_epoch_steps(Train(epoch_steps=40), 0.5, 1000) == 40


@pytest.mark.parametrize(
    ("steps", "step_seconds", "validation_seconds", "expected"),
    [
        (10_000, 0.5, 16, 200),  # 0.85 / 0.15 * 16 s are 90.7 s, 182 steps
        (10_000, 0.5, 0, 100),  # no more than a hundred
        (1000, 0.5, 0, 50),
        (30, 0.5, 16, 30),
    ],
)
def test_an_open_schedule_is_forecast_from_what_was_measured(
    steps: int, step_seconds: float, validation_seconds: float, expected: int
) -> None:
    told = expected_epoch_steps(Train(steps=steps), step_seconds, validation_seconds)

    assert told == expected
    if told < steps:
        assert validation_seconds / (validation_seconds + told * step_seconds) <= SHARE


def due_steps(settings: Train, *, step_seconds: float, validation_seconds: float) -> list[int]:
    """The steps that a whole run validates, when all take as long as they did before."""
    seconds, last, taken, steps = 0.0, 0, list[float](), list[int]()
    for step in range(1, settings.steps + 1):
        seconds += step_seconds
        if step == settings.steps or is_due(settings, step, last, taken=taken, seconds=seconds, limit=None):
            steps, last = [*steps, step], step
            taken, seconds = [*taken, validation_seconds], seconds + validation_seconds
    return steps


def test_a_number_validates_each_time_and_at_the_end() -> None:
    fixed = Train(steps=100, epoch_steps=30)

    assert due_steps(fixed, step_seconds=1, validation_seconds=1000) == [30, 60, 90, 100]


@pytest.mark.parametrize("step_seconds", [0.05, 1.0])
@pytest.mark.parametrize("validation_seconds", [0.1, 5.0, 90.0])
@pytest.mark.parametrize("steps", [2000, 60_000])
def test_an_open_schedule_keeps_to_its_share_of_the_time(
    steps: int, step_seconds: float, validation_seconds: float
) -> None:
    """From the second validation to the one before the last, which comes whatever it takes."""
    validated = due_steps(
        Train(steps=steps), step_seconds=step_seconds, validation_seconds=validation_seconds
    )

    assert (validated[0], validated[-1]) == (FIRST, steps)
    assert all(step % EVERY == 0 for step in validated[:-1])
    assert len(validated) <= MOST + 1
    for count, step in enumerate(validated[1:-1], 2):
        taken = count * validation_seconds
        assert taken <= SHARE * (step * step_seconds + taken)
    expected = expected_epoch_steps(Train(steps=steps), step_seconds, validation_seconds)
    if expected < steps / 5:
        assert len(validated) == pytest.approx(steps / expected, rel=0.25)


def test_a_run_shorter_than_the_first_is_validated_at_its_end() -> None:
    assert due_steps(Train(steps=120), step_seconds=1, validation_seconds=0) == [120]


def test_a_step_is_validated_once() -> None:
    assert not is_due(Train(steps=100, epoch_steps=30), 30, 30, taken=[1.0], seconds=1e9, limit=None)
    assert not is_due(Train(steps=1000), 300, 300, taken=[1.0], seconds=1e9, limit=None)


def test_a_time_limit_that_comes_soon_has_the_first_sooner() -> None:
    """So that the last, which is as long, has its time kept back."""
    course = Train(steps=10_000)

    assert not is_due(course, 50, 0, taken=[], seconds=9.9, limit=100)
    assert is_due(course, 50, 0, taken=[], seconds=10, limit=100)
    assert not is_due(course, 51, 0, taken=[], seconds=10, limit=100)


@pytest.mark.parametrize(
    ("seconds", "expected", "limit", "given_up"),
    [
        (6, 26, 100, True),
        (6, 24, 100, False),
        (4, 1000, 100, False),  # the first scan may take longer than the others
        (1000, 1000, None, False),
    ],
)
def test_a_validation_is_given_up_once_it_surely_takes_a_quarter_of_the_limit(
    seconds: float, expected: float, limit: float | None, given_up: bool
) -> None:
    assert is_too_long(Train(), seconds, expected=expected, limit=limit) is given_up
    assert not is_too_long(Train(epoch_steps=50), seconds, expected=expected, limit=limit)
