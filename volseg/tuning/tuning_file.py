"""`tune.json`, which `volseg tune` writes into a run's folder, or that of its five folds."""

import math
from typing import ClassVar, Literal

from volseg.evaluation.bootstrap import Estimate
from volseg.runs.run_files import TUNE, NetworkFile
from volseg.schema import Section


class Gain(Section):
    """The rise of a score, a mean over scans, and its 95 % interval over cases, if it has one.

    `mean` is None where there was nothing to measure.
    """

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
    """One class: its mean score (None: it has none) and its steps, one line a step, before and after."""

    before: float | None
    after: float | None
    gain: Gain
    steps_before: tuple[str, ...]
    steps_after: tuple[str, ...]


class TuningRow(Section):
    """One search dimension of one class: the step in use, the best one, and whether that is kept.

    Both are one line such as `drop_small min_mm3=500`, or "none".
    """

    organ: str
    slot: str
    was: str
    chosen: str
    gain: Gain
    kept: bool

    @property
    def had_alternatives(self) -> bool:
        """Whether another step was better, on all cases or on some of them."""
        return self.was != self.chosen or bool(self.gain.mean)


class TuningFile(NetworkFile):
    """The content of `tune.json`; `weights` are the hashes of the networks that it holds for.

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
        """Whether any step is kept."""
        return any(row.kept for row in self.rows)
