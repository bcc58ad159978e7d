"""The options of `volseg contours`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class ContoursArguments:
    """Options of contours."""

    out: Path = Path("contours")
    """The folder for <scan>_rtstruct.dcm and <scan>_seg.dcm, which only its owner may read."""
    kind: Literal["both", "rtstruct", "seg"] = "both"
    """Contours (RTSTRUCT), masks (SEG) or both."""
    fractional: bool = False
    """Write probabilities into the SEG instead of masks; `volseg infer --save-probabilities` makes them."""
    organs: Path | None = None
    """A YAML file of a clinic's own names, colours and codes: `liver: {name: Liver_A}`."""
