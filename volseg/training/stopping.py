"""Whether to go on: what a signal asks and the clock says, the same on all ranks."""

from dataclasses import dataclass

from volseg.model.distributed import process_group
from volseg.system import signals
from volseg.training.state import Clock


@dataclass(frozen=True)
class Accord:
    """A signal that any rank has got counts on all, and so does the time on rank 0's clock."""

    request: signals.Request
    clock: Clock

    def check(self) -> None:
        """Call this where work is whole, equally often on all ranks.

        Raises:
            Stopped: a signal has come to any of them since the last call.
        """
        number = self.agree()
        if number:
            raise signals.Stopped(number)

    def agree(self) -> int | None:
        """Set the clock by rank 0's; return the number of a signal that any rank has got."""
        number = self.request.number
        if process_group.ranks() > 1:
            spent = 0.0 if process_group.rank() else self.clock.measured()
            largest, self.clock.agreed = process_group.largest([number or 0, spent])
            number = int(largest)
        return number
