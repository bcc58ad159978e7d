"""Agreement of two masks' surfaces: surface Dice and added path length."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.metric import ROUNDING_MM, BaseMetric, Unit


class SurfaceDice(BaseMetric):
    """The share of both surfaces, by area, that lies within a tolerance of the other; 1 is best.

    Nikolov et al. 2018, as DeepMind's surface-distance, but for tolerances that are met to 1e-6 mm.
    """

    name: Literal["surface_dice"] = "surface_dice"
    tolerance_mm: PositiveFloat = 2.0

    @property
    def column_name(self) -> str:
        """The metric's name in scores.csv: `NSD2` at 2 mm."""
        return f"NSD{self.tolerance_mm:g}"

    def __call__(self, pair: MaskPair) -> float:
        """The share, 0 to 1."""
        if not pair.has_distances:
            return 0.0 if pair.label_voxels or pair.prediction_voxels else math.nan
        tolerance_mm = self.tolerance_mm + ROUNDING_MM
        surfaces = pair.surface_elements(tolerance_mm)
        near = sum(float(areas[distances <= tolerance_mm].sum()) for areas, distances in surfaces)
        return near / sum(float(areas.sum()) for areas, _ in surfaces)


class APL(BaseMetric):
    """Added path length: how much of the truth's contours must be drawn anew, in mm; 0 is best.

    Vaassen et al. 2020: slice by slice, the pixels of the labels' contour that are none of the
    prediction's, times the size of a pixel. A contour's pixels are those of the mask that share an edge
    with a pixel outside it in the same slice. A pixel that is not square has the size of the square of
    its area. What must only be deleted costs nothing.
    """

    name: Literal["apl"] = "apl"
    unit: ClassVar[Unit] = "mm"
    symmetric: ClassVar[bool] = False
    slicewise: ClassVar[bool] = True
    column: ClassVar[str] = "APL_mm"

    def __call__(self, pair: MaskPair) -> float:
        """The length in mm."""
        if not pair.label_voxels:
            return math.nan
        label, prediction = pair.slice_contours
        return np.count_nonzero(label & ~prediction) * math.sqrt(math.prod(pair.spacing_mm[:2]))
