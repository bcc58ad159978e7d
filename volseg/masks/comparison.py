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
TREE_COST = 8  # looking one voxel up in a tree costs as much as 8 voxels of a distance map


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
        truth, prediction = (_points(_shell(mask), self.spacing_mm) for mask in self.cropped)
        return _nearest(truth, prediction), _nearest(prediction, truth)

    @cached_property
    def surface_elements(self) -> tuple[Elements, Elements]:
        """The surface elements of truth and of prediction; see `surface`."""
        table = element_areas(self.spacing_mm)
        codes = [cell_codes(mask) for mask in self.cropped]
        cells = [(code != 0) & (code != 255) for code in codes]
        truth, prediction = (_points(cell, self.spacing_mm) for cell in cells)
        areas = [table[code[cell]] for code, cell in zip(codes, cells, strict=True)]
        return (
            Elements(areas[0], _nearest(truth, prediction)),
            Elements(areas[1], _nearest(prediction, truth)),
        )


def hausdorff(one: Mask, other: Mask, spacing_mm: Spacing) -> float:
    """The exact symmetric Hausdorff distance between the voxel centres of two masks, neither empty.

    Voxels deep inside count as well as the surface: the middle of a ball is far from its shell.
    """
    return max(_farthest(one, other, spacing_mm), _farthest(other, one, spacing_mm))


def _farthest(mask: Mask, target: Mask, spacing_mm: Spacing) -> float:
    """The longest way from a voxel of the mask to the nearest voxel of the target, in mm."""
    outside = mask & ~target
    count = np.count_nonzero(outside)
    if not count:
        return 0.0
    if count * TREE_COST > mask.size:
        from scipy.ndimage import distance_transform_edt

        return float(distance_transform_edt(~target, sampling=spacing_mm)[outside].max())
    points = _points(_shell(target), spacing_mm)  # from outside, the nearest voxel is on the shell
    return float(_nearest(_points(outside, spacing_mm), points).max())


def _shell(mask: Mask) -> Mask:
    """The voxels of a mask that have a face towards the outside."""
    from scipy.ndimage import binary_erosion

    return np.asarray(mask ^ binary_erosion(mask), dtype=np.bool_)


def _points(mask: Mask, spacing_mm: Spacing) -> Floats:
    """The places of a mask's voxels in mm (N, 3)."""
    return np.asarray(np.argwhere(mask) * np.array(spacing_mm), dtype=np.float64)


def _nearest(points: Floats, targets: Floats) -> Floats:
    """The distance from each point (N, 3) to the nearest target (M, 3), M > 0: (N,)."""
    from scipy.spatial import KDTree

    if not len(targets):
        raise ValueError("there is no distance to an empty mask")
    return np.asarray(KDTree(targets, leafsize=32).query(points)[0])
