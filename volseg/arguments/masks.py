"""The options of the commands that read masks: `volseg evaluate`, `compare`, `submit` and `report`."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from volseg.errors import UserError


def _check_threshold(_type: object, threshold: float | None) -> None:
    """Refuse a threshold that isn't a probability above 0.

    Raises:
        UserError: 0 and below, or above 1.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise UserError(f"--threshold: {threshold:g} is no probability above 0 and up to 1, e.g. 0.5")


@Parameter(name="*")
@dataclass(frozen=True)
class MaskOptions:
    """Options of the commands that read masks of any tool."""

    threshold: Annotated[float | None, Parameter(validator=_check_threshold)] = None
    """Where masks are probabilities: the class is where they are at least this, e.g. 0.5."""
    resample: bool = False
    """Resample masks on another grid than their scan's onto it (nearest voxel; probabilities linearly)."""


@Parameter(name="*")
@dataclass(frozen=True)
class CompareArguments(MaskOptions):
    """Options of compare."""

    metric: str = "Dice"
    """A metric as scores.csv names it, such as Dice, HD95, NSD2 or Dice_labelled, or kaggle."""
    common: bool = False
    """Go on with the scans in both where one lacks some of the other."""
