"""Metrics: each looks at a `Comparison` of one class of one scan and gives a number.

What they give where a mask is empty (never a silent 0):

| metric | both empty | only truth empty | only prediction empty |
|---|---|---|---|
| Dice, NSD | NaN | 0 | 0 |
| HD, HD95 | NaN | infinity | infinity |
| volume_ml | 0 | its volume | 0 |
| truth_ml | 0 | 0 | its volume |

NaN is "nothing to measure" and leaves a mean; infinity is "missed" and must be counted beside it.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import PositiveFloat

from volseg.masks.comparison import Comparison
from volseg.schema import Choice, Section

ROUNDING_MM = 1e-6  # NIfTI keeps voxel sizes as float32: 3.0000001 mm is within 3 mm


class Dice(Section):
    """Twice the shared volume over the sum of both volumes; 1 is best."""

    name: Literal["dice"] = "dice"

    @property
    def label(self) -> str:
        """Its name in scores.csv."""
        return "Dice"

    def __call__(self, comparison: Comparison) -> float:
        """The value, 0 to 1."""
        total = comparison.truth_voxels + comparison.prediction_voxels
        return 2 * comparison.shared_voxels / total if total else math.nan


class HD(Section):
    """The exact symmetric Hausdorff distance between voxel centres, over all voxels of both masks."""

    name: Literal["hd"] = "hd"

    @property
    def label(self) -> str:
        """Its name in scores.csv."""
        return "HD"

    def __call__(self, comparison: Comparison) -> float:
        """The distance in mm."""
        if not comparison.comparable:
            return comparison.distance_if_not_comparable
        return comparison.hausdorff_mm


class HD95(Section):
    """The larger of the two 95th percentiles of the ways from surface voxels to the other surface.

    Surface voxels have a face towards the outside; percentiles are interpolated (MONAI's definition).
    """

    name: Literal["hd95"] = "hd95"

    @property
    def label(self) -> str:
        """Its name in scores.csv."""
        return "HD95"

    def __call__(self, comparison: Comparison) -> float:
        """The distance in mm."""
        if not comparison.comparable:
            return comparison.distance_if_not_comparable
        return max(float(np.quantile(ways, 0.95)) for ways in comparison.surface_distances_mm)


class SurfaceDice(Section):
    """The share of both surfaces, by area, that lies within a tolerance of the other; 1 is best.

    Nikolov et al. 2018, as in DeepMind's surface-distance.
    """

    name: Literal["surface_dice"] = "surface_dice"
    tolerance_mm: PositiveFloat = 2.0

    @property
    def label(self) -> str:
        """Its name in scores.csv: `NSD2` at 2 mm."""
        return f"NSD{self.tolerance_mm:g}"

    def __call__(self, comparison: Comparison) -> float:
        """The value, 0 to 1."""
        if not comparison.comparable:
            return 0.0 if comparison.truth_voxels or comparison.prediction_voxels else math.nan
        near = whole = 0.0
        for areas, distances in comparison.surface_elements:
            near += float(areas[distances <= self.tolerance_mm + ROUNDING_MM].sum())
            whole += float(areas.sum())
        return near / whole


class Volume(Section):
    """The volume of the prediction, or of the truth."""

    name: Literal["volume"] = "volume"
    of: Literal["prediction", "truth"] = "prediction"

    @property
    def label(self) -> str:
        """Its name in scores.csv."""
        return "volume_ml" if self.of == "prediction" else "truth_ml"

    def __call__(self, comparison: Comparison) -> float:
        """The volume in ml."""
        predicted = self.of == "prediction"
        voxels = comparison.prediction_voxels if predicted else comparison.truth_voxels
        return voxels * math.prod(comparison.spacing_mm) / 1000


Metric = Annotated[Dice | HD | HD95 | SurfaceDice | Volume, Choice()]

DEFAULT: tuple[Metric, ...] = (
    Dice(),
    HD(),
    HD95(),
    SurfaceDice(tolerance_mm=2),
    SurfaceDice(tolerance_mm=3),
    Volume(),
    Volume(of="truth"),
)


def measure(comparison: Comparison, metrics: Sequence[Metric] = DEFAULT) -> dict[str, float]:
    """The value of each metric by its name in scores.csv."""
    return {metric.label: metric(comparison) for metric in metrics}
