"""What a training ends with."""

from dataclasses import dataclass
from pathlib import Path

from volseg.config.sections import SelectName


@dataclass(frozen=True)
class TrainingResult:
    """A run, its steps and seconds, the score of its best weights (None: no validation), and this rank.

    `select` says which score it is.
    """

    run: Path
    steps: int
    best: float | None
    seconds: float
    rank: int = 0
    select: SelectName = "dice"
