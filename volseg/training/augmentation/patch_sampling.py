"""The place of a patch's voxels in a scan, and the single copy or resampling that fetches them.

Beyond the scan the image is 0 and no class is there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import grid_sample

from volseg.data.volume import Array
from volseg.training.loading.packed_scan import PackedScan, first_wins, mark_ignored


@dataclass(frozen=True)
class PatchFrame:
    """A patch of `size` voxels (X, Y, Z), whose first voxel is `start` in the scan before augmentation.

    Patch voxel p lies at start + centre + matrix @ (p - centre) + bend(p), in voxels of the scan.
    `bend` holds control points (3, I, J, K), spread evenly from corner to corner.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    matrix: Array | None = None
    bend: Array | None = None

    def with_matrix(self, matrix: Array) -> "PatchFrame":
        """The frame transformed by a matrix (3, 3) about its centre."""
        return replace(self, matrix=matrix if self.matrix is None else self.matrix @ matrix)

    @property
    def flipped_axes(self) -> tuple[int, ...] | None:
        """The flipped axes; None where the frame is rotated, zoomed or bent as well."""
        if self.bend is not None:
            return None
        if self.matrix is None:
            return ()
        if not np.array_equal(np.abs(self.matrix), np.eye(3)):
            return None
        return tuple(np.flatnonzero(self.matrix.diagonal() < 0).tolist())

    def voxel_positions(self) -> Array:
        """The place of each voxel in the scan: float32 (X, Y, Z, 3), the last axis as (z, y, x) for torch."""
        matrix = np.eye(3) if self.matrix is None else self.matrix
        centre = (np.array(self.size) - 1) / 2
        x, y, z = (np.arange(n) - c for n, c in zip(self.size, centre, strict=True))
        positions = np.empty((*self.size, 3), np.float32)
        for axis, (row, middle) in enumerate(zip(matrix, self.start + centre, strict=True)):
            of_x, of_y, of_z = (row[0] * x + middle, row[1] * y, row[2] * z)
            plane = (of_x[:, None, None] + of_y[None, :, None]).astype(np.float32)
            np.add(plane, of_z.astype(np.float32), out=positions[..., 2 - axis])
        if self.bend is not None:
            for axis, field in enumerate(smooth_field(self.bend, self.size)):
                positions[..., 2 - axis] += field
        return positions


def cut_patch(scan: PackedScan, frame: PatchFrame) -> tuple[Array, Array]:
    """The patch: image float32 (C, X, Y, Z) and label uint8 (K, X, Y, Z) with 0, 1 or IGNORE.

    Without a rotation, zoom or bend these are the scan's own voxels. Else both are resampled linearly,
    once, and classes cut at one half.
    """
    flips = frame.flipped_axes
    return _resample_patch(scan, frame) if flips is None else _copy_patch(scan, frame, flips)


def smooth_field(controls: Array, size: Sequence[int]) -> Array:
    """A smooth field (3, X, Y, Z), float32, by cubic B-splines through control points (3, I, J, K).

    Independent control points of variance 1 give a field of variance 1 everywhere.
    """
    along_x, along_y, along_z = (  # torch's: numpy's threads would fight with those of the network
        torch.from_numpy(_spline_weights(n, count)) for n, count in zip(size, controls.shape[1:], strict=True)
    )
    planes = along_y @ (torch.from_numpy(controls.astype(np.float32)) @ along_z.T)
    flat = along_x @ planes.flatten(2)
    field: Array = flat.reshape(len(controls), *size).numpy()
    return field


def _spline_weights(size: int, controls: int) -> Array:
    """The cubic B-spline weight of each control point in each voxel: float32 (size, controls)."""
    position = np.linspace(0, controls - 1, size)[:, None]
    distance = np.abs(position - np.arange(controls))
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    scaled: Array = (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def _copy_patch(scan: PackedScan, frame: PatchFrame, flips: tuple[int, ...]) -> tuple[Array, Array]:
    image, label = _empty_patch(scan, frame.size)
    inside, window = [], []
    for start, size, length in zip(frame.start, frame.size, scan.shape, strict=True):
        low, high = max(start, 0), max(min(start + size, length), start, 0)
        window.append(slice(low, high))
        inside.append(slice(low - start, high - start))
    axes = tuple(axis + 1 for axis in flips)
    np.flip(image, axes)[:, *inside] = scan.image[:, *window]
    target = np.flip(label, axes)[:, *inside]
    for number, plane in enumerate(target):
        plane[...] = scan.label_plane(number, tuple(window))
    mark_ignored(target, scan.label_plane(scan.class_count, tuple(window)))
    return image, label


def _resample_patch(scan: PackedScan, frame: PatchFrame) -> tuple[Array, Array]:
    positions = frame.voxel_positions()
    low, high = _source_box(positions, scan.shape)
    image, label = _empty_patch(scan, frame.size)
    if (low >= high).any():
        return image, label
    window = tuple(map(slice, low, high))
    planes = {n: scan.label_plane(n, window) for n in range(scan.class_count + 1)}
    planes = {n: plane for n, plane in planes.items() if plane.any()}
    source = np.empty((len(image) + len(planes), *(high - low)), np.float32)
    source[: len(image)] = scan.image[:, *window]
    for target, plane in zip(source[len(image) :], planes.values(), strict=True):
        target[...] = plane
    sampled = _sample_box(source, positions, low)
    masks = dict(zip(planes, sampled[len(image) :] >= 0.5, strict=True))
    ignored = masks.pop(scan.class_count, None)
    for number, mask in masks.items():
        label[number] = mask
    if scan.exclusive and len(masks) > 1:
        label = first_wins(label)
    return sampled[: len(image)], label if ignored is None else mark_ignored(label, ignored)


def _source_box(positions: Array, shape: Sequence[int]) -> tuple[Array, Array]:
    """The box of the scan, from `low` to before `high`, around these positions and their neighbours."""
    axes = [positions[..., 2 - axis] for axis in range(3)]  # many times as fast as all at once
    low = np.array([max(0, math.floor(along.min())) for along in axes])
    beyond = [math.floor(along.max()) + 2 for along in axes]
    return low, np.minimum(beyond, shape)


def _sample_box(source: Array, positions: Array, low: Array) -> Array:
    """The values of a box (C, X, Y, Z), whose first voxel is `low`, at `positions`, which are changed."""
    length = np.array(source.shape[1:])
    grid = torch.from_numpy(positions)
    grid *= torch.from_numpy((2 / length)[::-1].astype(np.float32))
    grid += torch.from_numpy(((1 - 2 * low) / length - 1)[::-1].astype(np.float32))
    slabs = math.gcd(len(grid), torch.get_num_threads())  # torch spreads items, not voxels, over threads
    sampled = grid_sample(
        torch.from_numpy(source)[None].expand(slabs, -1, -1, -1, -1),
        grid.unflatten(0, (slabs, -1)),  # type: ignore[no-untyped-call]
        padding_mode="zeros",
        align_corners=False,
    )
    joined: Array = sampled.transpose(0, 1).flatten(1, 2).numpy()
    return joined


def _empty_patch(scan: PackedScan, size: Sequence[int]) -> tuple[Array, Array]:
    """An image (C, X, Y, Z) and a label (K, X, Y, Z) of zeros, as beyond the scan."""
    image = np.zeros((len(scan.image), *size), np.float32)
    return image, np.zeros((scan.class_count, *size), np.uint8)
