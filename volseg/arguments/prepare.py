"""The options of `volseg prepare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from volseg.arguments.groups import MACHINE, OUTPUT, SPECIAL, WHAT
from volseg.arguments.values import DATA, Many


@Parameter(name="*")
@dataclass(frozen=True)
class PrepareArguments:
    """Options of prepare."""

    layout: Annotated[str, WHAT] = "gi-tract"
    """How the source is laid out: `volseg options layout` lists them."""
    out: Annotated[Path, OUTPUT] = DATA
    """The folder for the volumes and dataset.json."""
    workers: Annotated[int | None, MACHINE] = None
    """Processes; by default one a core."""
    check: Annotated[bool, OUTPUT] = False
    """Read everything, write nothing, report all that is wrong or odd."""
    json: Annotated[bool, OUTPUT] = False
    """Print the findings as JSON on stdout."""
    strict: Annotated[bool, OUTPUT] = False
    """Stop before anything is written if any scan has a fault."""
    allow_gaps: Annotated[bool, SPECIAL] = False
    """Take scans with missing slices as they are."""
    part: Annotated[Literal["all", "train", "test"], WHAT] = "all"
    """The part to prepare. Without test scans in the competition's folder, test gives an empty dataset."""
    slice_mm: Annotated[float | None, SPECIAL] = None
    """Distance of slices in mm, which their names do not contain; 3 by default."""
    classes: Annotated[Many[str], WHAT] = ()
    """The classes of train.csv, if not the competition's; with the layouts nifti and dicom, those to keep."""
    allow_no_frame: Annotated[bool, SPECIAL] = False
    """With the layout dicom, take series without a frame of reference, as anonymising leaves them."""
    exclude: Annotated[Many[str], WHAT] = ()
    """Scans to flag as excluded in addition to the data author's list of bad labels."""

    def layout_settings(self) -> dict[str, Any]:
        """The layout's settings that are not the defaults."""
        names = ("part", "slice_mm", "allow_gaps", "classes", "allow_no_frame")
        return {
            name: getattr(self, name) for name in names if getattr(self, name) != getattr(type(self), name)
        }
