"""A run that holds five: a folder with a whole run for each fold, and which of them are finished."""

from pathlib import Path

from pydantic import Field, ValidationError

from volseg.atomic import write_text
from volseg.data.folds import FOLDS
from volseg.errors import UserError
from volseg.schema import Section, explain

FILE, OUT_OF_FOLD = "folds.json", "out_of_fold"
NAMES = tuple(f"fold{number}" for number in range(FOLDS))
"""The folders of the folds' runs."""


class Ended(Section):
    """How the training of a fold ended, and the time limit that it had, in seconds."""

    steps: int
    best: float | None
    seconds: float
    max_seconds: float | None


class Folds(Section):
    """What `folds.json` says: how each fold that is finished ended, by the name of its folder.

    The file is written when the first is finished.
    """

    finished: dict[str, Ended] = Field(min_length=1)

    @classmethod
    def read(cls, folder: Path) -> "Folds | None":
        """The folds of a run; None where it isn't one that holds five, or none is finished.

        Raises:
            UserError: a damaged file.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise UserError.of(f"{path}: {line}" for line in explain(error, cls)) from error

    def write(self, folder: Path) -> None:
        """Write `folds.json`."""
        write_text(folder / FILE, self.model_dump_json(indent=1) + "\n")

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The folds that are yet to be trained, or trained further."""
        return tuple(name for name in NAMES if name not in self.finished)
