"""The last word on a slice by another run: emptied where that finds too little of the class."""

from dataclasses import dataclass, replace

import numpy as np

from volseg.postprocessing.connected_components import Mask
from volseg.postprocessing.step_input import Bytes, StepInput, at_least


@dataclass(frozen=True, eq=False)
class SliceGate:
    """Empty each slice in which fewer than `pixels` voxels of `found` have at least a `probability`.

    `found` is another run's probability of the same class on the same grid, (X, Y, Z) in 8 bits.
    """

    found: Bytes
    probability: float
    pixels: int
    name: str = "gate"
    only: tuple[str, ...] = ()

    def __call__(self, evidence: StepInput) -> Mask:
        """The new mask, bool (X, Y, Z)."""
        here = replace(evidence, probability=self.found).slices_last
        counts = np.count_nonzero(at_least(here.probability, self.probability), axis=(0, 1))
        return evidence.to_native_axes(here.mask & (counts >= self.pixels))
