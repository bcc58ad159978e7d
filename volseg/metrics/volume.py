"""Volumes in ml, and how far they are apart."""

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
        """Its name in scores.csv."""
        return "volume_ml" if self.of == "prediction" else "truth_ml"

    def __call__(self, comparison: MaskPair) -> float:
        """The volume in ml."""
        predicted = self.of == "prediction"
        voxels = comparison.prediction_voxels if predicted else comparison.label_voxels
        return voxels * comparison.voxel_ml


class VolumeDifference(BaseMetric):
    """The prediction's volume minus the truth's; 0 is best, below 0 is too small."""

    name: Literal["volume_difference"] = "volume_difference"
    unit: ClassVar[Unit] = "ml"
    symmetric: ClassVar[bool] = False

    @property
    def column_name(self) -> str:
        """Its name in scores.csv."""
        return "volume_difference_ml"

    def __call__(self, comparison: MaskPair) -> float:
        """The difference in ml."""
        return (comparison.prediction_voxels - comparison.label_voxels) * comparison.voxel_ml


class RelativeVolumeDifference(BaseMetric):
    """The prediction's volume minus the truth's, in percent of the truth's; 0 is best."""

    name: Literal["relative_volume_difference"] = "relative_volume_difference"
    unit: ClassVar[Unit] = "%"
    symmetric: ClassVar[bool] = False
    unbounded: ClassVar[bool] = True

    @property
    def column_name(self) -> str:
        """Its name in scores.csv."""
        return "volume_difference_percent"

    def __call__(self, comparison: MaskPair) -> float:
        """The difference in percent, from -100."""
        if not comparison.label_voxels:
            return math.inf if comparison.prediction_voxels else math.nan
        return 100 * (comparison.prediction_voxels / comparison.label_voxels - 1)
