"""A step of post-processing: flat parts are dropped."""

from typing import Literal

import numpy as np
from pydantic import Field

from volseg.postprocessing.connected_components import ConnectedComponents, Mask
from volseg.postprocessing.removal import RemovalStep
from volseg.postprocessing.step_input import StepInput


class DropFlat(RemovalStep):
    """Drop every part that lies in fewer than `min_slices` slices.

    `volseg tune` tries the examples of a setting.
    """

    name: Literal["drop_flat"] = "drop_flat"
    min_slices: int = Field(default=2, ge=2, examples=[2, 3])
    only: tuple[str, ...] = ()

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        here = evidence.slices_last
        components = ConnectedComponents.from_mask(here.mask)
        slices = np.zeros(components.count, int)
        for z in np.flatnonzero(here.mask.any(axis=(0, 1))):
            in_slice = np.zeros_like(here.mask)
            in_slice[:, :, z] = True
            slices += components.containing_seeds(in_slice)
        return evidence.to_native_axes(components.selected_mask(slices >= self.min_slices))
