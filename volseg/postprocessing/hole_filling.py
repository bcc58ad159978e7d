"""Steps that fill: what they leave is a superset of the mask."""

from typing import Literal

from volseg.postprocessing.connected_components import Mask, filled
from volseg.postprocessing.step_input import Evidence
from volseg.schema import Section


class Filling(Section):
    """A step whose mask is a superset of the one before."""


class FillHoles(Filling):
    """Fill every hole: background that no path over voxel faces joins to the border of the scan."""

    name: Literal["fill_holes"] = "fill_holes"
    only: tuple[str, ...] = ()

    def __call__(self, evidence: Evidence) -> Mask:
        """The new mask."""
        return filled(evidence.mask)


class FillHolesInSlices(Filling):
    """Fill, in each slice by itself, every hole: background that no path joins to the slice's border."""

    name: Literal["fill_holes_in_slices"] = "fill_holes_in_slices"
    only: tuple[str, ...] = ()

    def __call__(self, evidence: Evidence) -> Mask:
        """The new mask."""
        return evidence.native(filled(evidence.slices_last.mask, in_slices=True))
