"""Overlap of two masks: Dice and intersection over union."""

import math
from typing import Literal

from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.metric import BaseMetric


class Dice(BaseMetric):
    """Twice the shared volume over the sum of both volumes; 1 is best."""

    name: Literal["dice"] = "dice"

    def __call__(self, comparison: MaskPair) -> float:
        """The value, 0 to 1."""
        total = comparison.label_voxels + comparison.prediction_voxels
        return 2 * comparison.shared_voxels / total if total else math.nan


class IoU(BaseMetric):
    """Intersection over union, the shared volume over that of either mask; 1 is best."""

    name: Literal["iou"] = "iou"

    def __call__(self, comparison: MaskPair) -> float:
        """The value, 0 to 1."""
        shared = comparison.shared_voxels
        union = comparison.label_voxels + comparison.prediction_voxels - shared
        return shared / union if union else math.nan
