"""A metric: how far a predicted organ's centre lies from the true one."""

from typing import ClassVar, Literal

import numpy as np

from volseg.metrics.distance import DistanceMetric
from volseg.metrics.mask_pair import MaskPair


class CentreDistance(DistanceMetric):
    """The distance of the centres of both masks in mm; infinite where one is empty."""

    name: Literal["centre_distance"] = "centre_distance"
    column: ClassVar[str] = "centre_mm"
    better: ClassVar[Literal["lower"]] = "lower"

    def distance_mm(self, pair: MaskPair) -> float:
        """The distance of masks of which neither is empty."""
        one, other = (np.argwhere(mask).mean(axis=0) for mask in pair.cropped_masks)
        return float(np.linalg.norm((one - other) * pair.spacing_mm))
