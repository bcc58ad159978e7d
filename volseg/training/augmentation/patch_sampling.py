"""Where a patch's voxels lie in a scan, and the one cut or resampling that fetches them.

Beyond the scan there is nothing: image 0, no class.
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
    """A patch of `size` voxels (X, Y, Z) in a scan, whose first voxel is `start` before it is varied.

    Patch voxel p lies at start + centre + matrix @ (p - centre) + bend(p), in voxels of the scan.
    `bend` holds control points (3, I, J, K), spread evenly from corner to corner.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    matrix: Array | None = None
    bend: Array | None = None

    def with_matrix(self, matrix: Array) -> "PatchFrame":
        """The frame varied by a matrix (3, 3) about its centre."""
        return replace(self, matrix=matrix if self.matrix is None else self.matrix @ matrix)

    @property
    def flipped_axes(self) -> tuple[int, ...] | None:
        """The axes that are turned over, if nothing else is done."""
        if self.bend is not None:
            return None
        if self.matrix is None:
            return ()
        if not np.array_equal(np.abs(self.matrix), np.eye(3)):
            return None
        return tuple(np.flatnonzero(self.matrix.diagonal() < 0).tolist())

    def voxel_positions(self) -> Array:
        """Where each voxel lies in the scan: float32 (X, Y, Z, 3), the last axis as Z, Y, X.

        That is the order in which torch wants it.
        """
        matrix = np.eye(3) if self.matrix is None else self.matrix
        centre = (np.array(self.size) - 1) / 2
        x, y, z = (np.arange(n) - c for n, c in zip(self.size, centre, strict=True))
        places = np.empty((*self.size, 3), np.float32)
        for axis, (row, middle) in enumerate(zip(matrix, self.start + centre, strict=True)):
            of_x, of_y, of_z = (row[0] * x + middle, row[1] * y, row[2] * z)
            plane = (of_x[:, None, None] + of_y[None, :, None]).astype(np.float32)
            np.add(plane, of_z.astype(np.float32), out=places[..., 2 - axis])
        if self.bend is not None:
            for axis, field in enumerate(smooth_field(self.bend, self.size)):
                places[..., 2 - axis] += field
        return places


def cut_patch(scan: PackedScan, frame: PatchFrame) -> tuple[Array, Array]:
    """The patch: image float32 (C, X, Y, Z) and label uint8 (K, X, Y, Z) with 0, 1 or IGNORE.

    Without a rotation, zoom or bend it is the scan's own voxels. Else both are resampled linearly,
    once, and classes cut at one half.
    """
    flips = frame.flipped_axes
    return _resample_patch(scan, frame) if flips is None else _copy_patch(scan, frame, flips)


def smooth_field(controls: Array, size: Sequence[int]) -> Array:
    """Control points (3, I, J, K) as a smooth field (3, X, Y, Z), float32, by cubic B-splines.

    Independent control points of variance 1 give a field of variance 1 everywhere.
    """
    along_x, along_y, along_z = (  # torch's: numpy's threads would fight with those of the network
        torch.from_numpy(_spline_weights(n, count)) for n, count in zip(size, controls.shape[1:], strict=True)
    )
    field = along_y @ (torch.from_numpy(controls.astype(np.float32)) @ along_z.T)
    flat = along_x @ field.flatten(2)
    smoothed: Array = flat.reshape(len(controls), *size).numpy()
    return smoothed


def _spline_weights(size: int, controls: int) -> Array:
    """How much of each control point is in each voxel: float32 (size, controls)."""
    place = np.linspace(0, controls - 1, size)[:, None]
    away = np.abs(place - np.arange(controls))
    near, far = 2 / 3 - away**2 + away**3 / 2, np.clip(2 - away, 0, None) ** 3 / 6
    weights = np.where(away < 1, near, far)
    scaled: Array = (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def _copy_patch(scan: PackedScan, frame: PatchFrame, flips: tuple[int, ...]) -> tuple[Array, Array]:
    image, label = _empty_patch(scan, frame.size)
    inside, window = [], []
    for start, size, length in zip(frame.start, frame.size, scan.shape, strict=True):
        low, high = max(start, 0), max(min(start + size, length), start, 0)
        window.append(slice(low, high))
        inside.append(slice(low - start, high - start))
    along = tuple(axis + 1 for axis in flips)
    place = (slice(None), *inside)
    np.flip(image, along)[place] = scan.image[(slice(None), *window)]
    into = np.flip(label, along)[place]
    for number, plane in enumerate(into):
        plane[...] = scan.label_plane(number, tuple(window))
    mark_ignored(into, scan.label_plane(scan.class_count, tuple(window)))
    return image, label


def _resample_patch(scan: PackedScan, frame: PatchFrame) -> tuple[Array, Array]:
    places = frame.voxel_positions()
    low, high = _source_box(places, scan.shape)
    image, label = _empty_patch(scan, frame.size)
    if (low >= high).any():
        return image, label
    window = tuple(map(slice, low, high))
    planes = {n: scan.label_plane(n, window) for n in range(scan.class_count + 1)}
    planes = {n: plane for n, plane in planes.items() if plane.any()}
    source = np.empty((len(image) + len(planes), *(high - low)), np.float32)
    source[: len(image)] = scan.image[(slice(None), *window)]
    for into, plane in zip(source[len(image) :], planes.values(), strict=True):
        into[...] = plane
    found = _sample_box(source, places, low)
    masks = dict(zip(planes, found[len(image) :] >= 0.5, strict=True))
    nowhere = masks.pop(scan.class_count, None)
    for number, mask in masks.items():
        label[number] = mask
    if scan.exclusive and len(masks) > 1:
        label = first_wins(label)
    return found[: len(image)], label if nowhere is None else mark_ignored(label, nowhere)


def _source_box(places: Array, shape: Sequence[int]) -> tuple[Array, Array]:
    """The box of the scan, from `low` up to before `high`, that these places lie in or between."""
    axes = [places[..., 2 - axis] for axis in range(3)]  # many times as fast as all at once
    low = np.array([max(0, math.floor(along.min())) for along in axes])
    beyond = [math.floor(along.max()) + 2 for along in axes]
    return low, np.minimum(beyond, shape)


def _sample_box(source: Array, places: Array, low: Array) -> Array:
    """A box (C, X, Y, Z) that begins at the voxel `low`, at places in the scan; changes `places`."""
    length = np.array(source.shape[1:])
    grid = torch.from_numpy(places)
    grid *= torch.from_numpy((2 / length)[::-1].astype(np.float32))
    grid += torch.from_numpy(((1 - 2 * low) / length - 1)[::-1].astype(np.float32))
    slabs = math.gcd(len(grid), torch.get_num_threads())  # torch spreads items, not voxels, over threads
    found = grid_sample(
        torch.from_numpy(source)[None].expand(slabs, -1, -1, -1, -1),
        grid.unflatten(0, (slabs, -1)),  # type: ignore[no-untyped-call]
        padding_mode="zeros",
        align_corners=False,
    )
    joined: Array = found.transpose(0, 1).flatten(1, 2).numpy()
    return joined


def _empty_patch(scan: PackedScan, size: Sequence[int]) -> tuple[Array, Array]:
    """A patch that lies beyond the scan."""
    image = np.zeros((len(scan.image), *size), np.float32)
    return image, np.zeros((scan.class_count, *size), np.uint8)
