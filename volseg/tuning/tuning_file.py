"""`tune.json`, which `volseg tune` writes into a run's folder, or that of its five folds."""

import math
from typing import ClassVar, Literal

from volseg.evaluation.bootstrap import Estimate
from volseg.runs.run_files import TUNE, NetworkFile
from volseg.schema import Section


class Gain(Section):
    """The rise of a score, a mean over scans (None: nothing to measure), and its 95 % interval, if any."""

    mean: float | None
    low: float | None
    high: float | None
    cases: int

    @property
    def estimate(self) -> Estimate:
        """The gain as an `Estimate`, with NaN for None."""
        mean, low, high = (math.nan if one is None else one for one in (self.mean, self.low, self.high))
        return Estimate(mean, low, high, self.cases)

    @property
    def is_significant(self) -> bool:
        """Whether there is an interval and it lies above 0."""
        return self.low is not None and self.low > 0


class ClassTuning(Section):
    """One class: its mean score (None: it has none) and its steps, one line a step, before and after.

    The score after, and so the gain, is of steps that were chosen without the case that is scored.
    """

    before: float | None
    after: float | None
    gain: Gain
    steps_before: tuple[str, ...]
    steps_after: tuple[str, ...]


class TuningRow(Section):
    """One search dimension of one class: the step in use, the one chosen (or "none"), and if that is kept.

    Earlier versions wrote a `gain` and chose steps that they did not keep.
    """

    organ: str
    slot: str
    was: str
    chosen: str
    gain: Gain | None = None
    kept: bool


class TuningFile(NetworkFile):
    """The content of `tune.json` for networks with these hashes of `weights`.

    `before` and `after` are mean scores of all classes: with the old steps, and with steps that were
    chosen on other cases than those scored. `untried` are the dimensions for which no time was left.
    """

    file: ClassVar[str] = TUNE
    again: ClassVar[str] = "make it anew with `volseg tune`"
    score: Literal["kaggle", "dice", "surface_dice"]
    scans: int
    cases: int
    version: str
    date: str
    seconds: float
    before: float
    after: float
    gain: Gain
    organs: dict[str, ClassTuning]
    rows: tuple[TuningRow, ...]
    untried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_improvements(self) -> bool:
        """Whether any step was changed."""
        return bool(self.changes)

    @property
    def changes(self) -> tuple[TuningRow, ...]:
        """The rows of the steps that were changed."""
        return tuple(row for row in self.rows if row.kept)
