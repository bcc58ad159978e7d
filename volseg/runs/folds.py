"""A run that holds five: a folder with a whole run for each fold, and which of them are finished."""

from typing import ClassVar

from pydantic import Field

from volseg.data.splits import FOLDS
from volseg.schema import Section
from volseg.system.json_files import JsonFile

FILE, OUT_OF_FOLD = "folds.json", "out_of_fold"
NAMES = tuple(f"fold{number}" for number in range(FOLDS))
"""The folders of the folds' runs."""


class FoldOutcome(Section):
    """How the training of a fold ended, and the time limit that it had, in seconds."""

    steps: int
    best: float | None
    seconds: float
    max_seconds: float | None


class FinishedFolds(JsonFile):
    """What `folds.json` says: how each fold that is finished ended, by the name of its folder.

    The file is written when the first is finished.
    """

    file: ClassVar[str] = FILE
    finished: dict[str, FoldOutcome] = Field(min_length=1)

    @property
    def unfinished_folds(self) -> tuple[str, ...]:
        """The folds that are yet to be trained, or trained further."""
        return tuple(name for name in NAMES if name not in self.finished)
