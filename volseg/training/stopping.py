"""When training ends: after its steps, early, by its time limit or by a signal; at one step on all ranks."""

import time
from dataclasses import dataclass

from volseg.config.sections import Train
from volseg.model.distributed import process_group
from volseg.system import signals

FEW_STEPS = 50
"""On CHAOS a network needed 250 to be of use; reading scans can take the time of all."""

KEPT = 0.75
"""The largest share of a time limit that is kept for the last validation; where it takes more, none is."""


class TrainingClock:
    """The wall-clock seconds of a run, over all its resumes, and their limit (None: no limit).

    The time of the last validation and checkpoint is in `reserve` for the next ones, so that a run ends
    within its limit. Nothing is kept where that would leave too little for training. Several ranks go by the
    time on which they last agreed, so that all of them end with the same step.
    """

    def __init__(self, limit: float | None, *, before: float = 0.0, reserve: float = 0.0) -> None:
        self.limit = limit
        self.before = before
        self.started = time.monotonic()
        self.reserve = reserve
        self.agreed: float | None = None

    def seconds_spent(self) -> float:
        """Seconds so far, or at the time of the last agreement."""
        return self.seconds_measured() if self.agreed is None else self.agreed

    def seconds_measured(self) -> float:
        """Seconds so far by this process's own clock."""
        return self.before + time.monotonic() - self.started

    def share_spent(self) -> float:
        """The share of the limit that is spent; 0 without one."""
        if not self.limit:
            return 0.0
        kept = self.reserve if self.reserve <= KEPT * self.limit else 0.0
        return self.seconds_spent() / (self.limit - kept)

    def is_over(self) -> bool:
        """Whether training has to end."""
        return self.share_spent() >= 1

    def end(self) -> None:
        """Set the limit to the time that is spent, so that training ends with this step."""
        self.limit = max(self.seconds_spent(), 1e-9)


@dataclass(frozen=True)
class StopAgreement:
    """A signal to any rank stops all ranks, all go by the clock of rank 0, and wait for the slowest."""

    request: signals.StopRequest
    clock: TrainingClock

    def raise_if_stopped(self, *, unfinished: bool = False) -> bool:
        """End training after a signal; return whether work is `unfinished` on any rank.

        To be called between steps, equally often on all ranks.

        Raises:
            Stopped: a signal has come to any rank since the last call.
        """
        number, unfinished = self._agree(unfinished=unfinished)
        if number:
            raise signals.Stopped(number)
        return unfinished

    def sync_clock(self) -> None:
        """Set the clock by rank 0's."""
        self._agree(unfinished=False)

    def _agree(self, *, unfinished: bool) -> tuple[int, bool]:
        """The number of a signal that any rank has got (0: none), and whether any has work to finish."""
        number = self.request.number or 0
        if process_group.world_size() == 1:
            return number, unfinished
        spent = 0.0 if process_group.rank() else self.clock.seconds_measured()
        largest, self.clock.agreed, most = process_group.all_reduce_max([number, spent, unfinished])
        return int(largest), bool(most)


def stop_reason(settings: Train, step: int, epochs_since_best: int, clock: TrainingClock) -> str:
    """Why training ends after an epoch: its steps, early stopping or its time limit; empty if it goes on."""
    if step >= settings.steps:
        return f"all {settings.steps} steps are done"
    if settings.patience and epochs_since_best >= settings.patience:
        return f"no better score for {settings.patience} epochs"
    if clock.is_over():
        time_used = f"the time limit is used up: {clock.seconds_spent():.0f} of {clock.limit:.0f} s"
        advice = "; a network learns next to nothing in so few: give more with --max-time"
        return f"{time_used}, {step} of {settings.steps} steps{advice if step < FEW_STEPS else ''}"
    return ""
