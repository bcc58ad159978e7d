"""The voxels of a patch, copied or resampled from a packed crop, on any torch device.

Beyond the scan the image is 0 and no class is there. Voxels are read at places that are rounded to a 256th
of a voxel in whole numbers. So the weights of the eight neighbours and each sum of them over a mask are exact
in float32, in whatever order they are added, and every device finds the same masks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from volseg.arrays import IGNORE
from volseg.model.engines.torch_arrays import TorchArrays
from volseg.training.augmentation.patch_frame import FINE_BITS, PatchFrame
from volseg.training.loading.packed_crop import PackedCrop

PART_BITS = 8  # places are rounded to the 256th part of a voxel
BEFORE, AFTER = 1, 2  # voxels of nothing around the crop, where places beyond it are read
SLAB = {"cpu": 1 << 15}  # voxels that are resampled at once: on a CPU they stay in its cache
LARGE_SLAB = 1 << 22


@torch.no_grad()
def cut_patch(
    crop: PackedCrop, frame: PatchFrame, image: Tensor, label: Tensor, teacher: Tensor | None = None
) -> None:
    """Write the patch into `image` float32 (C, X, Y, Z) and `label` uint8 (K, X, Y, Z), both zero before.

    The crop is the frame's source box. Labels are 0, 1 or IGNORE. Without a rotation, zoom or bend the voxels
    are the scan's own. Else image and masks are resampled linearly, once, and masks cut at one half. The
    crop's teacher goes into `teacher` uint8 (K, X, Y, Z), zero before, resampled as the image is.
    """
    if 0 in crop.shape:
        return
    flips = frame.flipped_axes
    if flips is None:
        _resample_patch(crop, frame, (image, label, teacher))
    else:
        inside = _copied_part(crop, frame, flips)
        _copy_patch(crop, flips, image[:, *inside], label[:, *inside])
        if teacher is not None and crop.teacher is not None:
            teacher[:, *inside] = crop.teacher.flip([axis + 1 for axis in flips])


def _copied_part(crop: PackedCrop, frame: PatchFrame, flips: tuple[int, ...]) -> list[slice]:
    """The part of a patch that its crop fills."""
    inside = []
    for axis, (low, start, length) in enumerate(zip(crop.low, frame.start, crop.shape, strict=True)):
        first = low - start
        if axis in flips:
            first = frame.size[axis] - first - length
        inside.append(slice(first, first + length))
    return inside


def _copy_patch(crop: PackedCrop, flips: tuple[int, ...], image: Tensor, label: Tensor) -> None:
    image[:] = crop.image.flip([axis + 1 for axis in flips])
    for number in crop.planes:
        plane = crop.plane(number).flip(flips)
        if number < crop.class_count:
            label[number] = plane
        else:
            label.masked_fill_(plane.bool(), IGNORE)


def _resample_patch(crop: PackedCrop, frame: PatchFrame, patch: tuple[Tensor, Tensor, Tensor | None]) -> None:
    image, label, teacher = patch
    table = _unpacked_table(crop, columns=frame.keeps_columns)
    read = _read_columns if frame.keeps_columns else _read_voxels
    places = VoxelPlaces.of_frame(frame, crop)
    for rows in _slabs(frame, image.device):
        sampled = read(table, places, rows)
        image[:, rows], others = sampled[: len(image)], sampled[len(image) :]
        masks, levels = others[: len(crop.planes)], others[len(crop.planes) :]
        _write_masks(label[:, rows], masks >= 0.5, crop)
        if teacher is not None and crop.teacher is not None:
            teacher[:, rows] = levels.add_(0.5)  # the nearest, once it is cut


def _slabs(frame: PatchFrame, device: torch.device) -> Iterator[slice]:
    """Parts of the patch along x that are resampled one after the other."""
    x, y, z = frame.size
    step = max(1, SLAB.get(device.type, LARGE_SLAB) // (y * z))
    return (slice(first, min(first + step, x)) for first in range(0, x, step))


def _write_masks(label: Tensor, masks: Tensor, crop: PackedCrop) -> None:
    """Write bool masks (P, X, Y, Z) of the crop's planes into `label` (K, X, Y, Z)."""
    classes = [number for number in crop.planes if number < crop.class_count]
    ignored = masks[len(classes) :]
    masks = masks[: len(classes)]
    if crop.exclusive and len(classes) > 1:  # the first class keeps a voxel that several have
        masks = masks & (masks.cumsum(0, dtype=torch.uint8) == 1)
    for number, mask in zip(classes, masks, strict=True):
        label[number] = mask
    for mask in ignored:
        label.masked_fill_(mask, IGNORE)


def _unpacked_table(crop: PackedCrop, *, columns: bool) -> Tensor:
    """Image, planes and teacher as float32, with nothing around.

    (X * Y, P, Z) for columns, else (X * Y * Z, P).
    """
    x, y, z = (n + BEFORE + AFTER for n in crop.shape)
    channels = len(crop.image)
    masks = channels + len(crop.planes)
    count = masks if crop.teacher is None else masks + len(crop.teacher)
    table = torch.zeros((x, y, count, z) if columns else (x, y, z, count), device=crop.image.device)
    planes = table.permute(2, 0, 1, 3) if columns else table.permute(3, 0, 1, 2)
    inner = planes[:, BEFORE:-AFTER, BEFORE:-AFTER, BEFORE:-AFTER]
    inner[:channels] = crop.image
    for target, number in zip(inner[channels:masks], crop.planes, strict=True):
        target.copy_(crop.plane(number))
    if crop.teacher is not None:
        inner[masks:] = crop.teacher
    return table.view(x * y, count, z) if columns else table.view(x * y * z, count)


def _read_columns(table: Tensor, places: "VoxelPlaces", rows: slice) -> Tensor:
    """Values (P, X, Y, Z) of a table of columns: each is read along z from a mean of four columns."""
    index, weights = places.neighbours((0, 1), rows)
    _, count, length = table.shape
    means = embedding_bag(index, table.flatten(1), per_sample_weights=weights, mode="sum")
    means = means.view(-1, count, length)
    first, part = places.along_z()
    values = means.index_select(2, first).mul_(1 - part)
    values += means.index_select(2, first + 1).mul_(part)
    return values.view(-1, places.size[1], count, places.size[2]).permute(2, 0, 1, 3)


def _read_voxels(table: Tensor, places: "VoxelPlaces", rows: slice) -> Tensor:
    """Values (P, X, Y, Z) of a table of voxels, each a mean of eight."""
    index, weights = places.neighbours((0, 1, 2), rows)
    values = embedding_bag(index, table, per_sample_weights=weights, mode="sum")
    return values.view(-1, *places.size[1:], table.shape[1]).permute(3, 0, 1, 2)


@dataclass(frozen=True)
class VoxelPlaces:
    """Where the voxels of a patch lie in a crop, as tensors on the crop's device.

    `lines` are summands int32 (3, X), (3, Y), (3, Z) in fine parts of a voxel, from the crop's first voxel;
    the bend is `along_x` (X, I) @ `planes` (I, 3 * Y * Z).
    """

    size: tuple[int, ...]
    shape: tuple[int, ...]
    lines: tuple[Tensor, Tensor, Tensor]
    along_x: Tensor | None = None
    planes: Tensor | None = None

    @classmethod
    def of_frame(cls, frame: PatchFrame, crop: PackedCrop) -> "VoxelPlaces":
        """The places of a frame's voxels in its crop."""
        device = crop.image.device
        x, y, z = map(TorchArrays(device).upload, frame.axis_places(crop.low))
        if frame.bend is None:
            return cls(frame.size, crop.shape, (x, y, z))
        place = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        controls, along_x, along_y, along_z = map(TorchArrays(place).upload, frame.bend_weights())
        planes = along_y @ (controls @ along_z.T)  # (3, I, Y, Z)
        return cls(frame.size, crop.shape, (x, y, z), along_x, planes.transpose(0, 1).flatten(1))

    def neighbours(self, axes: tuple[int, ...], rows: slice) -> tuple[Tensor, Tensor]:
        """Indices int32 (N, 4 or 8) into the padded crop along these axes, and their weights."""
        bend = self._bend(rows)
        wholes, parts = zip(*(self._split(self._sum(axes, a, rows, bend), a) for a in axes), strict=True)
        index, weights, offsets = wholes[0], _shares(parts[0]), [0, 1]
        for axis, whole, part in zip(axes[1:], wholes[1:], parts[1:], strict=True):
            length = self.shape[axis] + BEFORE + AFTER
            index = index * length + whole
            weights = (weights[:, None] * _shares(part)).flatten(0, 1)
            offsets = [offset * length + step for offset in offsets for step in (0, 1)]
        beside = TorchArrays(index.device).upload(np.array(offsets, np.int32))
        return (index.flatten() + beside[:, None]).T.contiguous(), weights.T.contiguous()

    def along_z(self) -> tuple[Tensor, Tensor]:
        """For each z of a patch of columns: the place before it in the padded crop, and the part beyond."""
        x, y, z = self.lines
        return self._split(x[2, :1] + y[2, :1] + z[2], 2)

    def _sum(self, axes: tuple[int, ...], axis: int, rows: slice, bend: Tensor | None) -> Tensor:
        """The place of each voxel, or column if `axes` are two, along an axis, in fine parts of a voxel."""
        x, y, z = self.lines
        places = x[axis, rows, None] + y[axis]
        if len(axes) == 3:
            places = places[..., None] + z[axis]
        return places if bend is None else places + bend[:, axis]

    def _bend(self, rows: slice) -> Tensor | None:
        """The displacement of the voxels: int32 (X, 3, Y, Z), in fine parts of a voxel."""
        if self.along_x is None or self.planes is None:
            return None
        field = (self.along_x[rows] @ self.planes).mul_(1 << FINE_BITS).add_(0.5).floor_()
        return field.to(torch.int32).view(-1, 3, *self.size[1:]).to(self.lines[0].device)

    def _split(self, places: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """The index of the voxel before each place in the padded crop, and the part of a voxel beyond it."""
        parts = (places + (1 << (FINE_BITS - PART_BITS - 1))) >> (FINE_BITS - PART_BITS)
        parts = parts.clamp(-BEFORE << PART_BITS, self.shape[axis] << PART_BITS)
        whole = parts >> PART_BITS
        return whole + BEFORE, (parts - (whole << PART_BITS)).to(torch.float32) / (1 << PART_BITS)


def _shares(part: Tensor) -> Tensor:
    """The weights (2, N) of the voxels before and behind each place."""
    part = part.flatten()
    return torch.stack((1 - part, part))
