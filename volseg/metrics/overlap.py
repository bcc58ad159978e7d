"""Overlap of two masks: Dice and intersection over union."""

import math
from typing import Literal

from volseg.metrics.mask_pair import Comparison
from volseg.metrics.metric import Measure


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
