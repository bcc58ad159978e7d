"""The options of `volseg view`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from volseg.errors import UserError

LONGEST_REVIEWER = 200  # signs


def _check_port(_type: object, port: int) -> None:
    """Refuse a number that can't be a port.

    Raises:
        UserError: below 0, or above 65535.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port: {port} is no port; expected 0 (any that is free) to 65535")


def _check_reviewer(_type: object, reviewer: str) -> None:
    """Refuse a text that is no name.

    Raises:
        UserError: too long.
    """
    if len(reviewer) > LONGEST_REVIEWER:
        raise UserError(f"--reviewer: has {len(reviewer)} signs; expected {LONGEST_REVIEWER} at most")


@Parameter(name="*")
@dataclass(frozen=True)
class ViewArguments:
    """Options of view."""

    predictions: Path | None = None
    """The folder that `volseg infer` wrote; by default the newest below predictions/."""
    data: Path | None = None
    """The prepared dataset with images and labels; by default that of the predictions, if it has them."""
    read_only: bool = False
    """Change nothing on the disk."""
    port: Annotated[int, Parameter(validator=_check_port)] = 0
    """The port on this machine; 0 takes any that is free."""
    browser: Annotated[bool, Parameter(negative="--no-browser")] = True
    """Open the browser; without it, the address is only printed."""
    reviewer: Annotated[str, Parameter(validator=_check_reviewer)] = ""
    """Who corrects, for correction.json."""
