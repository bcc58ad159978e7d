"""The options of `volseg prepare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclopts import Parameter

from volseg.arguments.values import DATA, Many


@Parameter(name="*")
@dataclass(frozen=True)
class PrepareArguments:
    """Options of prepare."""

    layout: str = "gi-tract"
    """How the source is laid out: `volseg options layout` lists them."""
    out: Path = DATA
    """The folder for the volumes and dataset.json."""
    workers: int | None = None
    """Processes; by default one a core."""
    check: bool = False
    """Read everything, write nothing, report all that is wrong or odd."""
    json: bool = False
    """Print the findings as JSON on stdout."""
    strict: bool = False
    """Stop before anything is written if any scan has a fault."""
    allow_gaps: bool = False
    """Take scans with missing slices as they are."""
    part: Literal["all", "train", "test"] = "all"
    """The part to prepare. Without test scans in the competition's folder, test gives an empty dataset."""
    slice_mm: float | None = None
    """Distance of slices in mm, which their names do not contain; 3 by default."""
    classes: Many[str] = ()
    """The classes of train.csv, if not the competition's; with the layouts nifti and dicom, those to keep."""
    allow_no_frame: bool = False
    """With the layout dicom, take series without a frame of reference, as anonymising leaves them."""
    exclude: Many[str] = ()
    """Scans to flag as excluded in addition to the data author's list of bad labels."""

    def layout_settings(self) -> dict[str, Any]:
        """The layout's settings that are not the defaults."""
        names = ("part", "slice_mm", "allow_gaps", "classes", "allow_no_frame")
        return {
            name: getattr(self, name) for name in names if getattr(self, name) != getattr(type(self), name)
        }
