"""Random place, flip, rotation, zoom and deformation of a patch; none of its voxels is touched."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from monai.transforms import Randomizable, Transform

from volseg.data.volume import Array
from volseg.training.augmentation.drawn_patch import DrawnPatch
from volseg.training.augmentation.patch_frame import PatchFrame
from volseg.training.loading.packed_scan import PackedScan

CONTROLS = 7  # control points of an elastic displacement along each axis of the patch


class PlacePatch(Randomizable, Transform):  # type: ignore[misc]
    """Draw a place, with the probability `foreground` around a voxel of a random class."""

    def __init__(self, patch: Sequence[int], foreground: float) -> None:
        self.patch = tuple(patch)
        self.foreground = foreground

    def __call__(self, scan: PackedScan) -> DrawnPatch:
        """The patch inside the scan, or around it where the scan is smaller."""
        drawn = self._draw_start(scan)
        room = [n - size for n, size in zip(scan.shape, self.patch, strict=True)]
        start = (
            min(max(first, 0), spare) if spare >= 0 else -(-spare // 2)
            for first, spare in zip(drawn, room, strict=True)
        )
        return DrawnPatch(scan, PatchFrame(tuple(start), self.patch))

    def _draw_start(self, scan: PackedScan) -> list[int]:
        points = [points for points in scan.points if len(points)]
        if not (points and self.R.random_sample() < self.foreground):
            sizes = zip(scan.shape, self.patch, strict=True)
            return [self.R.randint(max(1, n - size + 1)) for n, size in sizes]
        class_points = points[self.R.randint(len(points))]
        centre = class_points[self.R.randint(len(class_points))]
        jitter = [self.R.randint(-(size // 4), size // 4 + 1) for size in self.patch]
        return [int(c) + j - size // 2 for c, j, size in zip(centre, jitter, self.patch, strict=True)]


class Flip(Randomizable, Transform):  # type: ignore[misc]
    """Flip along each of these axes, each with the probability one half."""

    def __init__(self, axes: Sequence[str]) -> None:
        self.axes = ["xyz".index(axis) for axis in axes]

    def __call__(self, patch: DrawnPatch) -> DrawnPatch:
        """The patch, flipped or not."""
        signs = np.ones(3)
        signs[self.axes] = self.R.choice((-1.0, 1.0), len(self.axes))
        return replace(patch, frame=patch.frame.with_matrix(np.diag(signs)))


class RotateZoom(Randomizable, Transform):  # type: ignore[misc]
    """Rotate about the axes and zoom along them, in millimetres, with the probability `often`.

    `degrees` and `zooms` are the largest about and along x, y and z.
    """

    def __init__(self, degrees: Sequence[float], zooms: Sequence[float], often: float) -> None:
        self.degrees = degrees
        self.zooms = np.array(zooms)
        self.often = often

    def __call__(self, patch: DrawnPatch) -> DrawnPatch:
        """The patch, rotated and zoomed about the patch's centre, or unchanged."""
        if self.R.random_sample() >= self.often:
            return patch
        angles = np.deg2rad([self.R.uniform(-most, most) for most in self.degrees])
        zoom = 1 + self.R.uniform(-self.zooms, self.zooms)
        matrix = voxel_matrix(rotation_matrix(angles) * zoom, patch.scan.spacing_mm)
        return replace(patch, frame=patch.frame.with_matrix(matrix))


class ElasticDeformation(Randomizable, Transform):  # type: ignore[misc]
    """Deform by a smooth field with a standard deviation in mm along each axis."""

    def __init__(self, deviation_mm: float, often: float) -> None:
        self.deviation_mm = deviation_mm
        self.often = often

    def __call__(self, patch: DrawnPatch) -> DrawnPatch:
        """The patch, deformed or unchanged."""
        if self.R.random_sample() >= self.often:
            return patch
        controls = self.R.normal(0, self.deviation_mm, (3, CONTROLS, CONTROLS, CONTROLS))
        in_scan = controls / np.reshape(patch.scan.spacing_mm, (3, 1, 1, 1))
        return replace(patch, frame=replace(patch.frame, bend=in_scan))


def rotation_matrix(radians: Sequence[float] | Array) -> Array:
    """The matrix (3, 3) of rotations about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(radians):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        about_axis = np.eye(3)
        about_axis[i, i] = about_axis[j, j] = np.cos(angle)
        about_axis[j, i], about_axis[i, j] = np.sin(angle), -np.sin(angle)
        matrix = about_axis @ matrix
    return matrix


def voxel_matrix(matrix: Array, spacing_mm: Sequence[float]) -> Array:
    """A matrix (3, 3) between millimetres as a matrix between voxels."""
    mm = np.asarray(spacing_mm)
    scaled: Array = matrix * mm / mm[:, None]
    return scaled
