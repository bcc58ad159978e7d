"""Volumes in ml, and differences of volumes."""

import math
from typing import ClassVar, Literal

from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.metric import BaseMetric, Unit


class Volume(BaseMetric):
    """The volume of the prediction, or of the truth."""

    name: Literal["volume"] = "volume"
    of: Literal["prediction", "truth"] = "prediction"
    unit: ClassVar[Unit] = "ml"
    symmetric: ClassVar[bool] = False

    @property
    def column_name(self) -> str:
        """The metric's name in scores.csv."""
        return "volume_ml" if self.of == "prediction" else "truth_ml"

    def __call__(self, pair: MaskPair) -> float:
        """The volume in ml."""
        return pair.voxel_ml * (pair.prediction_voxels if self.of == "prediction" else pair.label_voxels)


class VolumeDifference(BaseMetric):
    """The prediction's volume minus the truth's; 0 is best, below 0 is too small."""

    name: Literal["volume_difference"] = "volume_difference"
    unit: ClassVar[Unit] = "ml"
    symmetric: ClassVar[bool] = False
    column: ClassVar[str] = "volume_difference_ml"

    def __call__(self, pair: MaskPair) -> float:
        """The difference in ml."""
        return (pair.prediction_voxels - pair.label_voxels) * pair.voxel_ml


class RelativeVolumeDifference(BaseMetric):
    """The prediction's volume minus the truth's, in percent of the truth's; 0 is best."""

    name: Literal["relative_volume_difference"] = "relative_volume_difference"
    unit: ClassVar[Unit] = "%"
    symmetric: ClassVar[bool] = False
    unbounded: ClassVar[bool] = True
    column: ClassVar[str] = "volume_difference_percent"

    def __call__(self, pair: MaskPair) -> float:
        """The difference in percent, from -100."""
        if not pair.label_voxels:
            return math.inf if pair.prediction_voxels else math.nan
        return 100 * (pair.prediction_voxels / pair.label_voxels - 1)
