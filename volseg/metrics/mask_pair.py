"""Labels and prediction of one class of one scan, with the arrays that metrics share computed once."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from volseg.arrays import Box, bounding_box
from volseg.metrics.distance_transform import DistanceTransform, Floats, Mask, Spacing
from volseg.metrics.surface_elements import cell_codes, element_areas, surface_voxels

NEAR_MM = 5.0  # tolerances are mostly below it


class SurfaceElements(NamedTuple):
    """The elements of one mask's surface: area in mm², distance in mm to the other mask's surface."""

    areas_mm2: Floats
    distances_mm: Floats


@dataclass(frozen=True, eq=False)
class MaskPair:
    """Labels and prediction, bool (X, Y, Z) on one grid, and the size of a voxel in mm.

    Slices are the planes across the last axis.
    Everything is computed on the smallest box around both masks, at most once, on first use. Pairs of
    results are of labels and prediction. Distances are undefined (ValueError) unless `has_distances`.
    """

    label: Mask
    prediction: Mask
    spacing_mm: Spacing

    @classmethod
    def with_slices_last(
        cls, label: Mask, prediction: Mask, spacing_mm: Spacing, *, slice_axis: int
    ) -> "MaskPair":
        """The pair of masks in any order of axes, turned such that `slice_axis` is the last."""
        first, second = (axis for axis in range(3) if axis != slice_axis)
        order = (first, second, slice_axis)
        x, y, z = (spacing_mm[axis] for axis in order)
        return cls(label.transpose(order), prediction.transpose(order), (x, y, z))

    def __post_init__(self) -> None:
        """Refuse masks of two shapes with a ValueError."""
        if self.label.shape != self.prediction.shape:
            raise ValueError(f"labels are {self.label.shape}, prediction {self.prediction.shape}")

    @cached_property
    def box(self) -> Box:
        """The smallest box that holds both masks."""
        boxes = [box for mask in (self.label, self.prediction) if (box := bounding_box(mask))[0].stop]
        x, y, z = (
            slice(min((one.start for one in sides), default=0), max((one.stop for one in sides), default=0))
            for sides in ([box[axis] for box in boxes] for axis in range(3))
        )
        return x, y, z

    @cached_property
    def cropped_masks(self) -> tuple[Mask, Mask]:
        """Both masks within the box, in C order."""
        return np.ascontiguousarray(self.label[self.box]), np.ascontiguousarray(self.prediction[self.box])

    @cached_property
    def label_voxels(self) -> int:
        """Number of voxels of the labels."""
        return int(np.count_nonzero(self.cropped_masks[0]))

    @cached_property
    def prediction_voxels(self) -> int:
        """Number of voxels of the prediction."""
        return int(np.count_nonzero(self.cropped_masks[1]))

    @cached_property
    def shared_voxels(self) -> int:
        """Number of voxels in both masks."""
        return int(np.count_nonzero(self.cropped_masks[0] & self.cropped_masks[1]))

    @property
    def voxel_ml(self) -> float:
        """The volume of one voxel in ml."""
        return math.prod(self.spacing_mm) / 1000

    @property
    def has_distances(self) -> bool:
        """Whether neither mask is empty, so that distances between them exist."""
        return self.label_voxels > 0 and self.prediction_voxels > 0

    @property
    def distance_if_empty(self) -> float:
        """NaN where both masks are empty (nothing to measure), infinity where one is (missed)."""
        return np.inf if self.label_voxels or self.prediction_voxels else np.nan

    @cached_property
    def slice_contours(self) -> tuple[Mask, Mask]:
        """In each slice, the pixels that have an edge towards the outside, within the box."""
        label, prediction = (surface_voxels(mask, axes=(0, 1)) for mask in self.cropped_masks)
        return label, prediction

    def hausdorff_distance(self, spacing: Spacing) -> float:
        """The longest distance from any voxel of either mask to the other mask, in the spacing's unit."""
        label, prediction = self.cropped_masks
        to_label, to_prediction = self._shell_transforms  # from outside a mask its shell is what is nearest
        return max(
            to_prediction.max_distance(np.flatnonzero(label & ~prediction), spacing),
            to_label.max_distance(np.flatnonzero(prediction & ~label), spacing),
        )

    @cached_property
    def surface_distances_mm(self) -> tuple[Floats, Floats]:
        """For each surface voxel (with a face towards the outside) the distance to the other surface."""
        return _mutual_distances(*self._shell_transforms, self.spacing_mm)

    def surface_elements(self, within_mm: float) -> tuple[SurfaceElements, SurfaceElements]:
        """The elements of both surfaces; distances beyond `within_mm` may be too long."""
        return self._near_elements if within_mm < NEAR_MM else self._all_elements

    @cached_property
    def _shell_transforms(self) -> tuple[DistanceTransform, DistanceTransform]:
        label, prediction = (DistanceTransform(surface_voxels(mask)) for mask in self.cropped_masks)
        return label, prediction

    @cached_property
    def _surface_cells(self) -> tuple[tuple[DistanceTransform, DistanceTransform], tuple[Floats, Floats]]:
        """The cells that hold elements of either surface, and the elements' areas in mm²."""
        table = element_areas(self.spacing_mm)
        label, prediction = (cell_codes(mask) for mask in self.cropped_masks)
        # neither code 0 nor 255, to which 1 added is 0 again
        on_label, on_prediction = ((codes + np.uint8(1)) > 1 for codes in (label, prediction))
        areas = table.take(label[on_label]), table.take(prediction[on_prediction])
        return (DistanceTransform(on_label), DistanceTransform(on_prediction)), areas

    @cached_property
    def _near_elements(self) -> tuple[SurfaceElements, SurfaceElements]:
        return self._elements_within(NEAR_MM)

    @cached_property
    def _all_elements(self) -> tuple[SurfaceElements, SurfaceElements]:
        return self._elements_within(np.inf)

    def _elements_within(self, most_mm: float) -> tuple[SurfaceElements, SurfaceElements]:
        cells, areas = self._surface_cells
        distances = _mutual_distances(*cells, self.spacing_mm, most=most_mm)
        label, prediction = map(SurfaceElements, areas, distances)
        return label, prediction


def _mutual_distances(
    first: DistanceTransform, second: DistanceTransform, spacing: Spacing, most: float = np.inf
) -> tuple[Floats, Floats]:
    """The distances from each mask to the other, each (N,)."""
    return (
        second.distances_from(np.flatnonzero(first.mask), spacing, most=most),
        first.distances_from(np.flatnonzero(second.mask), spacing, most=most),
    )
