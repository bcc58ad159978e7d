"""Metrics: each looks at a `Comparison` of one class of one scan and gives a number.

What they give where a mask is empty (never a silent 0):

| metric | both empty | only truth empty | only prediction empty |
|---|---|---|---|
| Dice, IoU, NSD | NaN | 0 | 0 |
| HD, HD95, ASSD | NaN | infinity | infinity |
| APL_mm | NaN | NaN | the truth's whole contour |
| volume_ml | 0 | its volume | 0 |
| truth_ml | 0 | 0 | its volume |
| volume_difference_ml | 0 | the prediction's volume | minus the truth's volume |
| volume_difference_percent | NaN | infinity | -100 |

NaN is "nothing to measure" and leaves a mean; infinity is "missed" or "invented" and must be counted
beside it. Infinite only are metrics that say so (`unbounded`).
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from volseg.metrics.mask_pair import Comparison
from volseg.schema import Choice, Section

ROUNDING_MM = 1e-6  # NIfTI keeps voxel sizes as float32: 3.0000001 mm is within 3 mm
Unit = Literal["", "%", "mm", "ml"]


class Measure(Section):
    """What every metric says of itself; what laws it obeys is tested accordingly."""

    unit: ClassVar[Unit] = ""
    symmetric: ClassVar[bool] = True  # truth and prediction may change places
    slicewise: ClassVar[bool] = False  # slices, which lie across Z, are seen one by one
    unbounded: ClassVar[bool] = False  # infinite for some masks

    @property
    def label(self) -> str:
        """Its name in scores.csv."""
        return type(self).__name__


class Dice(Measure):
    """Twice the shared volume over the sum of both volumes; 1 is best."""

    name: Literal["dice"] = "dice"

    def __call__(self, comparison: Comparison) -> float:
        """The value, 0 to 1."""
        total = comparison.truth_voxels + comparison.prediction_voxels
        return 2 * comparison.shared_voxels / total if total else math.nan


class IoU(Measure):
    """Intersection over union, the shared volume over that of either mask; 1 is best."""

    name: Literal["iou"] = "iou"

    def __call__(self, comparison: Comparison) -> float:
        """The value, 0 to 1."""
        shared = comparison.shared_voxels
        union = comparison.truth_voxels + comparison.prediction_voxels - shared
        return shared / union if union else math.nan


class Distance(Measure):
    """A distance between two masks in mm."""

    unit: ClassVar[Unit] = "mm"
    unbounded: ClassVar[bool] = True

    def __call__(self, comparison: Comparison) -> float:
        """The distance in mm; infinite where one mask is empty."""
        if not comparison.comparable:
            return comparison.distance_if_not_comparable
        return self.between(comparison)

    def between(self, comparison: Comparison) -> float:
        """The distance in mm of masks of which neither is empty."""
        raise NotImplementedError


class HD(Distance):
    """The exact symmetric Hausdorff distance between voxel centres, over all voxels of both masks.

    As found by brute force over all pairs of voxels.
    """

    name: Literal["hd"] = "hd"

    def between(self, comparison: Comparison) -> float:
        """The distance in mm."""
        return comparison.hausdorff_mm


class HD95(Distance):
    """The larger of the two 95th percentiles of the ways from surface voxels to the other surface.

    Surface voxels have a face towards the outside; percentiles are interpolated. As MONAI's
    `compute_hausdorff_distance(percentile=95)`, whose own arithmetic has 32 bits.
    """

    name: Literal["hd95"] = "hd95"

    def between(self, comparison: Comparison) -> float:
        """The distance in mm."""
        return max(float(np.quantile(ways, 0.95)) for ways in comparison.surface_distances_mm)


class ASSD(Distance):
    """Average symmetric surface distance: the mean way from the surface voxels of both to the other.

    As MONAI's `compute_average_surface_distance(symmetric=True)`: each surface voxel counts alike,
    whichever mask it is of. Surface voxels are those of HD95.
    """

    name: Literal["assd"] = "assd"

    def between(self, comparison: Comparison) -> float:
        """The distance in mm."""
        return float(np.concatenate(comparison.surface_distances_mm).mean())


class SurfaceDice(Measure):
    """The share of both surfaces, by area, that lies within a tolerance of the other; 1 is best.

    Nikolov et al. 2018, as DeepMind's surface-distance, but for tolerances that are met to 1e-6 mm.
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
        tolerance_mm = self.tolerance_mm + ROUNDING_MM
        for areas, distances in comparison.surface_elements(tolerance_mm):
            near += float(areas[distances <= tolerance_mm].sum())
            whole += float(areas.sum())
        return near / whole


class APL(Measure):
    """Added path length: how much of the truth's contours must be drawn anew, in mm; 0 is best.

    Vaassen et al. 2020: slice by slice, the pixels of the truth's contour that are none of the
    prediction's, times the size of a pixel. A contour's pixels are those of the mask that share an edge
    with a pixel outside it in the same slice. A pixel that is not square has the size of the square of
    its area. What must only be deleted costs nothing.
    """

    name: Literal["apl"] = "apl"
    unit: ClassVar[Unit] = "mm"
    symmetric: ClassVar[bool] = False
    slicewise: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """Its name in scores.csv."""
        return "APL_mm"

    def __call__(self, comparison: Comparison) -> float:
        """The length in mm."""
        if not comparison.truth_voxels:
            return math.nan
        truth, prediction = comparison.contours
        return np.count_nonzero(truth & ~prediction) * math.sqrt(
            math.prod(comparison.spacing_mm[:2])
        )


class Volume(Measure):
    """The volume of the prediction, or of the truth."""

    name: Literal["volume"] = "volume"
    of: Literal["prediction", "truth"] = "prediction"
    unit: ClassVar[Unit] = "ml"
    symmetric: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Its name in scores.csv."""
        return "volume_ml" if self.of == "prediction" else "truth_ml"

    def __call__(self, comparison: Comparison) -> float:
        """The volume in ml."""
        predicted = self.of == "prediction"
        voxels = comparison.prediction_voxels if predicted else comparison.truth_voxels
        return voxels * comparison.voxel_ml


class VolumeDifference(Measure):
    """The prediction's volume minus the truth's; 0 is best, below 0 is too small."""

    name: Literal["volume_difference"] = "volume_difference"
    unit: ClassVar[Unit] = "ml"
    symmetric: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Its name in scores.csv."""
        return "volume_difference_ml"

    def __call__(self, comparison: Comparison) -> float:
        """The difference in ml."""
        return (comparison.prediction_voxels - comparison.truth_voxels) * comparison.voxel_ml


class RelativeVolumeDifference(Measure):
    """The prediction's volume minus the truth's, in percent of the truth's; 0 is best."""

    name: Literal["relative_volume_difference"] = "relative_volume_difference"
    unit: ClassVar[Unit] = "%"
    symmetric: ClassVar[bool] = False
    unbounded: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """Its name in scores.csv."""
        return "volume_difference_percent"

    def __call__(self, comparison: Comparison) -> float:
        """The difference in percent, from -100."""
        if not comparison.truth_voxels:
            return math.inf if comparison.prediction_voxels else math.nan
        return 100 * (comparison.prediction_voxels / comparison.truth_voxels - 1)


Metric = Annotated[
    Dice
    | IoU
    | HD
    | HD95
    | ASSD
    | SurfaceDice
    | APL
    | Volume
    | VolumeDifference
    | RelativeVolumeDifference,
    Choice(),
]

DEFAULT: tuple[Metric, ...] = (
    Dice(),
    IoU(),
    HD(),
    HD95(),
    ASSD(),
    SurfaceDice(tolerance_mm=2),
    SurfaceDice(tolerance_mm=3),
    APL(),
    Volume(),
    Volume(of="truth"),
    VolumeDifference(),
    RelativeVolumeDifference(),
)


def measure(comparison: Comparison, metrics: Sequence[Metric] = DEFAULT) -> dict[str, float]:
    """The value of each metric by its name in scores.csv."""
    return {metric.label: metric(comparison) for metric in metrics}
