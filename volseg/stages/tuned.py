"""What tuning found: `tune.json`, which `volseg tune` leaves in a run's folder, or that of its five folds."""

import math
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from volseg.atomic import write_text
from volseg.errors import UserError
from volseg.masks.bootstrap import Estimate
from volseg.runs import TUNE, Run
from volseg.schema import Section, explain


class Gain(Section):
    """By how much a score rose, a mean over scans, and its 95 % interval over cases, if it has one."""

    mean: float
    low: float | None
    high: float | None
    cases: int

    @property
    def estimate(self) -> Estimate:
        """The same as other means are told."""
        low = math.nan if self.low is None else self.low
        high = math.nan if self.high is None else self.high
        return Estimate(self.mean, low, high, self.cases)

    @property
    def sure(self) -> bool:
        """Whether there is an interval and it lies above 0."""
        return self.low is not None and self.low > 0


class OrganTuned(Section):
    """One class: its mean score (None: it has none) and its steps, one line a step, before and after."""

    before: float | None
    after: float | None
    gain: Gain
    steps_before: tuple[str, ...]
    steps_after: tuple[str, ...]


class Row(Section):
    """One slot of one class: the step in it, the one that was best, and whether that was kept.

    Both are one line such as `drop_small min_mm3=500`, or "none".
    """

    organ: str
    slot: str
    was: str
    chosen: str
    gain: Gain
    kept: bool


class Tuned(Section):
    """What `tune.json` says; `weights` are the hashes of the networks that it holds for.

    `before` and `after` are mean scores of all classes: with the old steps, and of cases that the steps
    they are judged by were not chosen on. `untried` are the slots for which no time was left.
    """

    score: Literal["kaggle", "dice", "surface_dice"]
    scans: int
    cases: int
    version: str
    date: str
    seconds: float
    weights: tuple[str, ...]
    before: float
    after: float
    gain: Gain
    organs: dict[str, OrganTuned]
    rows: tuple[Row, ...]
    untried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> "Tuned | None":
        """That of a folder; None where it has none.

        Raises:
            UserError: a damaged file.
        """
        path = folder / TUNE
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            again = "; make it anew with `volseg tune`"
            raise UserError.of(f"{path}: {line}{again}" for line in explain(error, cls)) from error

    def write(self, folder: Path) -> None:
        """Write `tune.json`."""
        write_text(folder / TUNE, self.model_dump_json(indent=1) + "\n")


def of_run(run: Run) -> Tuned | None:
    """What was found for a run's present weights, from its folder or that of the five it is one of."""
    for folder in (run.folder, run.folder.parent):
        found = Tuned.read(folder)
        if found and run.digest in found.weights:
            return found
    return None
