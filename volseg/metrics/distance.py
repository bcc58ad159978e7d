"""Distances of two masks' surfaces in mm: Hausdorff, its 95th percentile, and their mean."""

from typing import ClassVar, Literal

import numpy as np

from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.metric import BaseMetric, Unit


class DistanceMetric(BaseMetric):
    """A distance between two masks in mm."""

    unit: ClassVar[Unit] = "mm"
    unbounded: ClassVar[bool] = True

    def __call__(self, pair: MaskPair) -> float:
        """The distance in mm; infinite where one mask is empty."""
        return self.distance_mm(pair) if pair.has_distances else pair.distance_if_empty

    def distance_mm(self, pair: MaskPair) -> float:
        """The distance in mm of masks of which neither is empty."""
        raise NotImplementedError


class HD(DistanceMetric):
    """The exact symmetric Hausdorff distance between voxel centres, over all voxels of both masks.

    The value is that of brute force over all pairs of voxels.
    """

    name: Literal["hd"] = "hd"

    def distance_mm(self, pair: MaskPair) -> float:
        """The distance in mm."""
        return pair.hausdorff_mm


class HD95(DistanceMetric):
    """The larger of the two 95th percentiles of the ways from surface voxels to the other surface.

    Surface voxels have a face towards the outside; percentiles are interpolated. As MONAI's
    `compute_hausdorff_distance(percentile=95)`, whose own arithmetic has 32 bits.
    """

    name: Literal["hd95"] = "hd95"

    def distance_mm(self, pair: MaskPair) -> float:
        """The distance in mm."""
        return max(float(np.quantile(distances, 0.95)) for distances in pair.surface_distances_mm)


class ASSD(DistanceMetric):
    """Average symmetric surface distance: the mean way from the surface voxels of both to the other.

    As MONAI's `compute_average_surface_distance(symmetric=True)`: each surface voxel counts alike,
    whichever mask it belongs to. Surface voxels are those of HD95.
    """

    name: Literal["assd"] = "assd"

    def distance_mm(self, pair: MaskPair) -> float:
        """The distance in mm."""
        return float(np.concatenate(pair.surface_distances_mm).mean())
