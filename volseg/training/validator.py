"""Validates the weights at a step, at once or beside training, and has the epoch written."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from volseg import console
from volseg.model.distributed import process_group
from volseg.training.epoch import Epoch, EpochTimes, EpochWriter
from volseg.training.stopping import StopAgreement
from volseg.training.training import Training
from volseg.training.validation import RankScores
from volseg.training.validation_schedule import is_due, is_too_long
from volseg.training.validation_thread import ValidationThread

log = logging.getLogger(__name__)
POLL = 0.1
"""Seconds between two looks at a thread that is waited for."""


@dataclass(frozen=True)
class _Begun:
    """An epoch that is validated, and when that began, in seconds of the run."""

    epoch: Epoch
    began: float


class _TooLongError(Exception):
    """The end of a validation that would take too much of the time limit; `seconds` in all."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass
class Validator:
    """Validates when it is time to, and writes each epoch; several ranks call it equally often.

    `save` writes the checkpoint.
    """

    training: Training
    agreement: StopAgreement
    thread: ValidationThread
    writer: EpochWriter
    save: Callable[[], object]
    _beside: _Begun | None = field(default=None, init=False)

    @property
    def is_due(self) -> bool:
        """Whether the weights at this step are to be validated before the next."""
        state, settings = self.training.state, self.training.run.config.train
        if self._beside and not settings.epoch_steps:
            return False
        last = self._beside.epoch.step if self._beside else state.validated_step
        taken, clock = state.validation_seconds, self.training.clock
        seconds, limit = clock.seconds_spent(), clock.limit
        return is_due(settings, state.step, last, taken=taken, seconds=seconds, limit=limit)

    def after_step(self) -> None:
        """Finish a validation beside training when all ranks are done with it.

        Raises:
            Stopped: by a signal; such a validation is dropped.
        """
        unfinished = self.agreement.raise_if_stopped(unfinished=self.thread.unfinished)
        if self._beside and not unfinished:
            self._finish(self._beside, self.thread.result(), stood_still=0.0)

    def validate(self, times: EpochTimes, *, ending: bool) -> None:
        """Validate the weights of this step, beside the next ones if there is room and they follow.

        Raises:
            Stopped: by a signal, between two scans.
        """
        self._await_thread()
        state, clock = self.training.state, self.training.clock
        if state.rows and state.step == state.validated_step:
            return
        begun = _Begun(Epoch.at_step(state, times, clock.seconds_spent()), clock.seconds_spent())
        self.training.validation.take_weights(state.validated_network)
        if not ending and self._fits_beside():
            self._beside = begun
            self.thread.begin()
            return
        try:
            scores = self._score_here(begun, ending=ending)
        except _TooLongError as error:
            self._leave_to_the_end(error.seconds)
            return
        self._finish(begun, scores, stood_still=clock.seconds_spent() - begun.began)

    def _fits_beside(self) -> bool:
        """Whether memory has room for validation beside training, and the time limit for it and the last."""
        clock = self.training.clock
        if not self.training.beside:
            return False
        if clock.limit is not None and clock.seconds_spent() + 2 * clock.reserve > clock.limit:
            return False
        (too_large,) = process_group.all_reduce_max([not self.thread.has_room])
        return not too_large

    def _score_here(self, begun: _Begun, *, ending: bool) -> RankScores:
        """The scores, found while training waits.

        Raises:
            _TooLongError: they would take too much of the time limit, and are not the last.
        """
        clock, settings = self.training.clock, self.training.run.config.train
        with console.progress_bar("validating") as report:

            def after_each(done: int, count: int) -> None:
                report(done, count)
                self.agreement.raise_if_stopped()
                seconds = clock.seconds_spent() - begun.began
                expected = seconds * count / (done + 1)  # the next one is in work
                too_long = is_too_long(settings, seconds, expected=expected, limit=clock.limit)
                if too_long and done < count and not ending:
                    raise _TooLongError(expected)

            return self.thread.score_here(after_each)

    def _leave_to_the_end(self, seconds: float) -> None:
        """Go on without scores, and keep the time of a validation of so many seconds for the last step."""
        log.warning(
            "validation would take %.0f s or more, too long for --max-time; only the last weights have one",
            seconds,
        )
        self.training.state.validation_seconds.append(seconds)
        self.training.clock.reserve = seconds

    def _await_thread(self) -> None:
        """Wait for a validation beside training, and finish it."""
        if self._beside is None:
            return
        began = self.training.clock.seconds_spent()
        while self.agreement.raise_if_stopped(unfinished=self.thread.unfinished):
            self.thread.wait(POLL)
        waited = self.training.clock.seconds_spent() - began
        self._finish(self._beside, self.thread.result(), stood_still=waited)

    def _finish(self, begun: _Begun, own: RankScores, *, stood_still: float) -> None:
        """Gather the scores of all ranks and write the epoch; note the time of it all."""
        training, state, clock = self.training, self.training.state, self.training.clock
        self._beside = None
        scores = training.validation.gather_scores(own)
        training.on_validation(scores)
        row = begun.epoch.with_scores(scores, stood_still)
        state.validation_seconds.append(clock.seconds_spent() - begun.began)
        del state.losses[: begun.epoch.losses]
        self.writer.write(state, row, training.validation.network, own.pictures)
        self.save()
        self.writer.write_events()
        self.agreement.sync_clock()
        state.validation_seconds[-1] = clock.reserve = clock.seconds_spent() - begun.began
