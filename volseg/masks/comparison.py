"""Truth and prediction of one class of one scan, with what metrics share computed once."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from volseg.masks.crop import Box, bounding_box
from volseg.masks.surface import cell_codes, element_areas

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]
NEAR_VOXELS = 8
NEAR_COST = 8  # looking up a voxel in a tree takes as long as 8 voxels of a distance map,
FAR_COST = 1000  # one further than NEAR_VOXELS from the target as long as up to 1000


class Elements(NamedTuple):
    """The elements of one mask's surface: area in mm², distance in mm to the other mask's surface."""

    areas_mm2: Floats
    distances_mm: Floats


@dataclass(frozen=True, eq=False)
class Comparison:
    """Truth and prediction, bool (X, Y, Z) on one grid, and the size of a voxel in mm.

    Everything is computed on the smallest box that holds both masks, at most once, on first use.
    Distances are undefined (ValueError) while `comparable` is false.
    """

    truth: Mask
    prediction: Mask
    spacing_mm: Spacing

    def __post_init__(self) -> None:
        """Refuse masks of two shapes.

        Raises:
            ValueError: the shapes differ.
        """
        if self.truth.shape != self.prediction.shape:
            raise ValueError(f"truth is {self.truth.shape}, prediction {self.prediction.shape}")

    @cached_property
    def box(self) -> Box:
        """The smallest box that holds both masks."""
        boxes = [bounding_box(mask) for mask in (self.truth, self.prediction)]
        full = [box for box in boxes if box[0].stop]
        x, y, z = (
            slice(
                min((box[axis].start for box in full), default=0),
                max((box[axis].stop for box in full), default=0),
            )
            for axis in range(3)
        )
        return x, y, z

    @cached_property
    def cropped(self) -> tuple[Mask, Mask]:
        """Truth and prediction within the box."""
        return self.truth[self.box], self.prediction[self.box]

    @cached_property
    def truth_voxels(self) -> int:
        """Voxels of the truth."""
        return int(np.count_nonzero(self.cropped[0]))

    @cached_property
    def prediction_voxels(self) -> int:
        """Voxels of the prediction."""
        return int(np.count_nonzero(self.cropped[1]))

    @cached_property
    def shared_voxels(self) -> int:
        """Voxels of both."""
        return int(np.count_nonzero(self.cropped[0] & self.cropped[1]))

    @property
    def comparable(self) -> bool:
        """Whether neither mask is empty, so that distances between them exist."""
        return self.truth_voxels > 0 and self.prediction_voxels > 0

    @property
    def distance_if_not_comparable(self) -> float:
        """NaN where both masks are empty (nothing to measure), infinity where one is (missed)."""
        return np.inf if self.truth_voxels or self.prediction_voxels else np.nan

    @cached_property
    def hausdorff_mm(self) -> float:
        """The longest way from a voxel of either mask to the nearest voxel of the other, in mm."""
        return hausdorff(*self.cropped, self.spacing_mm)

    @cached_property
    def surface_distances_mm(self) -> tuple[Floats, Floats]:
        """For each surface voxel of truth and of prediction the way to the other's surface, in mm."""
        truth, prediction = (_shell(mask) for mask in self.cropped)
        return (
            _nearest(truth, prediction, self.spacing_mm),
            _nearest(prediction, truth, self.spacing_mm),
        )

    @cached_property
    def surface_elements(self) -> tuple[Elements, Elements]:
        """The surface elements of truth and of prediction; see `surface`."""
        table = element_areas(self.spacing_mm)
        truth, prediction = (cell_codes(mask) for mask in self.cropped)
        in_truth, in_prediction = ((codes != 0) & (codes != 255) for codes in (truth, prediction))
        return (
            Elements(table[truth[in_truth]], _nearest(in_truth, in_prediction, self.spacing_mm)),
            Elements(
                table[prediction[in_prediction]],
                _nearest(in_prediction, in_truth, self.spacing_mm),
            ),
        )


def hausdorff(one: Mask, other: Mask, spacing_mm: Spacing) -> float:
    """The exact symmetric Hausdorff distance between the voxel centres of two masks, neither empty.

    Voxels deep inside count as well as the surface: the middle of a ball is far from its shell.
    """
    return max(_farthest(one, other, spacing_mm), _farthest(other, one, spacing_mm))


def _farthest(mask: Mask, target: Mask, spacing_mm: Spacing) -> float:
    """The longest way from a voxel of the mask to the nearest voxel of the target, in mm."""
    outside = mask & ~target
    if not outside.any():
        return 0.0
    return float(
        _nearest(outside, _shell(target), spacing_mm).max()
    )  # from outside, shells are next


def _shell(mask: Mask) -> Mask:
    """The voxels of a mask that have a face towards the outside."""
    from scipy.ndimage import binary_erosion

    return np.asarray(mask ^ binary_erosion(mask), dtype=np.bool_)


def _nearest(mask: Mask, target: Mask, spacing_mm: Spacing) -> Floats:
    """The distance in mm from each voxel of the mask, in C order, to the nearest of the target (N,).

    A few voxels are looked up in a tree, which is quick only for near ones; many, or many that are
    far, are read from a distance map of the whole box.
    """
    from scipy.spatial import KDTree

    if not target.any():
        raise ValueError("there is no distance to an empty mask")
    places = np.argwhere(mask) * spacing_mm
    if len(places) * NEAR_COST > mask.size:
        return _map(target, spacing_mm)[mask]
    tree = KDTree(np.argwhere(target) * spacing_mm, leafsize=32)
    reach = NEAR_VOXELS * max(spacing_mm)
    distances = np.asarray(tree.query(places, distance_upper_bound=reach)[0])
    far = np.isinf(distances)
    many = np.count_nonzero(far) * FAR_COST > mask.size
    distances[far] = _map(target, spacing_mm)[mask][far] if many else tree.query(places[far])[0]
    return distances


def _map(target: Mask, spacing_mm: Spacing) -> Floats:
    """The distance in mm from every voxel of the box to the nearest of the target."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~target, sampling=spacing_mm))
