"""A run of five folds: a folder with a run for each fold, and `folds.json` of the finished ones."""

from typing import ClassVar

from pydantic import Field

from volseg.data.splits import FOLDS
from volseg.schema import Section
from volseg.system.json_files import JsonFile

FILE, OUT_OF_FOLD = "folds.json", "out_of_fold"
NAMES = tuple(f"fold{number}" for number in range(FOLDS))
"""The folders of the folds' runs."""


class FoldOutcome(Section):
    """The outcome of training a fold, and its time limit in seconds."""

    steps: int
    best: float | None
    seconds: float
    max_seconds: float | None


class FinishedFolds(JsonFile):
    """The content of `folds.json`: the outcome of each finished fold, by its folder's name.

    The file is written when the first fold is finished.
    """

    file: ClassVar[str] = FILE
    finished: dict[str, FoldOutcome] = Field(min_length=1)

    @property
    def unfinished_folds(self) -> tuple[str, ...]:
        """The folds whose training has not begun or not ended."""
        return tuple(name for name in NAMES if name not in self.finished)
