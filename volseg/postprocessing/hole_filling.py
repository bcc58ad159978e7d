"""Filling steps: their mask is a superset of the one before."""

from typing import Literal

from volseg.postprocessing.connected_components import Mask, fill_holes
from volseg.postprocessing.step_input import StepInput
from volseg.schema import Section


class FillingStep(Section):
    """A step whose mask is a superset of the one before."""


class FillHoles(FillingStep):
    """Fill every hole: background that no path over voxel faces joins to the border of the scan."""

    name: Literal["fill_holes"] = "fill_holes"
    only: tuple[str, ...] = ()

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        return fill_holes(evidence.mask)


class FillHolesInSlices(FillingStep):
    """Fill, in each slice by itself, every hole: background that no path joins to the slice's border."""

    name: Literal["fill_holes_in_slices"] = "fill_holes_in_slices"
    only: tuple[str, ...] = ()

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        return evidence.to_native_axes(fill_holes(evidence.slices_last.mask, in_slices=True))
