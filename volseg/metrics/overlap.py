"""Overlap of two masks: Dice and intersection over union."""

import math
from typing import Literal

from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.metric import BaseMetric


class Dice(BaseMetric):
    """Twice the shared volume over the sum of both volumes; 1 is best."""

    name: Literal["dice"] = "dice"

    def __call__(self, pair: MaskPair) -> float:
        """The coefficient, 0 to 1."""
        total = pair.label_voxels + pair.prediction_voxels
        return 2 * pair.shared_voxels / total if total else math.nan


class IoU(BaseMetric):
    """Intersection over union, the shared volume over that of either mask; 1 is best."""

    name: Literal["iou"] = "iou"

    def __call__(self, pair: MaskPair) -> float:
        """The share, 0 to 1."""
        union = pair.label_voxels + pair.prediction_voxels - pair.shared_voxels
        return pair.shared_voxels / union if union else math.nan
