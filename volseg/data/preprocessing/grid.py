"""The network's grid: native volumes turned, scaled and resampled, and a network's output resampled back.

Training, validation and inference all take `NetworkInput`; `InverseResampling` goes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from volseg.arrays import Box
from volseg.data.preprocessing.intensity_scaling import (
    AT_ONCE,
    Levels,
    Percentiles,
    Window,
    scale_intensities,
)
from volseg.data.preprocessing.resampling import (
    apply_matrices,
    interpolation_matrix,
    is_identity,
    resample_volume,
    source_range,
)
from volseg.data.volume import Array, Volume, turned_like
from volseg.errors import UserError
from volseg.schema import Spacing

LPI = np.array([[0, -1], [1, -1], [2, -1]])  # nibabel's code: columns to the left, rows back, slices down


@dataclass(frozen=True)
class NetworkGrid:
    """The network's grid over a native volume: oriented as LPI, with `spacing_mm` or the native spacing."""

    native_shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]
    spacing_mm: Spacing | None = None

    @classmethod
    def from_volume(cls, volume: Volume, spacing_mm: Spacing | None) -> "NetworkGrid":
        """The grid that covers a volume."""
        x, y, z = volume.voxels.shape
        return cls((x, y, z), volume.affine, spacing_mm)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Voxels (X, Y, Z) of the network's grid."""
        oriented = self.oriented_shape
        if self.spacing_mm is None:
            return oriented
        ratio = np.asarray(self.oriented_mm) / np.asarray(self.spacing_mm)
        return tuple(max(1, round(n * r)) for n, r in zip(oriented, ratio, strict=True))

    @property
    def oriented_mm(self) -> Spacing:
        """The native voxel size along the oriented axes."""
        native_mm = np.linalg.norm(self.affine[:3, :3], axis=0)
        x, y, z = native_mm[np.argsort(self._lpi_transform[:, 0])].tolist()
        return x, y, z

    @property
    def slice_axis(self) -> int:
        """The native axis across the slices, nearest to the line from head to feet."""
        return int(np.argsort(self._lpi_transform[:, 0])[2])

    def resample_mask(self, voxels: Array) -> npt.NDArray[np.uint8]:
        """A native binary mask (X, Y, Z) on this grid as 0/1, resampled linearly and cut at one half."""
        oriented = self.orient(voxels)
        if oriented.shape == self.shape:
            return np.ascontiguousarray(oriented, dtype=np.uint8)
        resampled = resample_volume(oriented.astype(np.float32), self.shape) >= 0.5
        return resampled.astype(np.uint8)

    def covering_box(self, oriented: Box) -> Box:
        """The smallest box of this grid over a box of native voxels, their axes turned."""
        ends = zip(oriented, self.oriented_shape, self.shape, strict=True)
        x, y, z = (slice(s.start * new // old, -(-s.stop * new // old)) for s, old, new in ends)
        return x, y, z

    def orient(self, voxels: Array) -> Array:
        """Native voxels with their axes turned to LPI, as a view."""
        import nibabel

        oriented: Array = nibabel.orientations.apply_orientation(voxels, self._lpi_transform)
        return oriented

    @cached_property
    def _lpi_transform(self) -> Array:
        from nibabel.orientations import io_orientation, ornt_transform

        transform: Array = ornt_transform(io_orientation(self.affine), LPI)
        return transform

    @cached_property
    def oriented_shape(self) -> tuple[int, ...]:
        """Voxels (X, Y, Z) of the native volume, its axes turned."""
        order = np.argsort(self._lpi_transform[:, 0])
        return tuple(self.native_shape[axis] for axis in order)


@dataclass(frozen=True)
class NetworkInput:
    """The input that a network takes of a scan, any box of which is computed on demand.

    `channels` are native voxels, their axes turned to LPI, `levels` the values of each that become 0 and 1.
    """

    grid: NetworkGrid
    channels: tuple[Array, ...]
    levels: tuple[Levels, ...]

    @classmethod
    def from_channels(
        cls, channels: Sequence[Volume], spacing_mm: Spacing | None, intensity: Percentiles | Window
    ) -> "NetworkInput":
        """The input of a scan's native channels, refused on different grids; turned axes are turned back."""
        first = channels[0]
        fitting = [turned_like(channel, first) for channel in channels]
        for number, (channel, fits) in enumerate(zip(channels, fitting, strict=True), start=1):
            if fits is None:
                raise UserError(
                    f"channel {number} has the shape {channel.voxels.shape} and spacing "
                    f"{channel.spacing_mm} mm, channel 1 {first.voxels.shape} and {first.spacing_mm} "
                    "mm, or lies elsewhere; resample them to one grid"
                )
        grid = NetworkGrid.from_volume(first, spacing_mm)
        oriented = tuple(grid.orient(channel.voxels) for channel in filter(None, fitting))
        return cls(grid, oriented, tuple(intensity.levels(channel.voxels) for channel in channels))

    @property
    def full_box(self) -> Box:
        """The box of the whole grid."""
        x, y, z = self.grid.shape
        return slice(0, x), slice(0, y), slice(0, z)

    def read_box(self, box: Box) -> npt.NDArray[np.float32]:
        """A box of the network's grid, float32 (C, X, Y, Z) in [0, 1], resampled linearly."""
        axes = zip(self.grid.oriented_shape, self.grid.shape, box, strict=True)
        rows = [interpolation_matrix(old, new)[side] for old, new, side in axes]
        x, y, z = map(source_range, rows)
        weights = [matrix[:, side] for matrix, side in zip(rows, (x, y, z), strict=True)]
        pairs = zip(self.channels, self.levels, strict=True)
        return np.stack([_scale_and_resample(voxels[x, y, z], levels, weights) for voxels, levels in pairs])


def stack_channels(
    channels: Sequence[Volume], spacing_mm: Spacing | None, intensity: Percentiles | Window
) -> tuple[NetworkGrid, npt.NDArray[np.float32]]:
    """The network's grid and its whole input, float32 (C, X, Y, Z), of a scan's native channels.

    Raises:
        UserError: channels on different grids, or voxels that are no numbers.
    """
    inputs = NetworkInput.from_channels(channels, spacing_mm, intensity)
    return inputs.grid, inputs.read_box(inputs.full_box)


def _scale_and_resample(voxels: Array, levels: Levels, matrices: Sequence[Array]) -> Array:
    """Voxels (X, Y, Z) scaled and resampled, some planes at a time, so that no scaled copy is kept."""
    x, y, along = matrices
    planes = max(1, AT_ONCE // (voxels.shape[0] * voxels.shape[1]))
    if voxels.shape[2] <= planes or (is_identity(x) and is_identity(y)):
        return apply_matrices(scale_intensities(voxels, levels), matrices)
    parts = [
        apply_matrices(scale_intensities(voxels[:, :, first : first + planes], levels), [x, y, None])
        for first in range(0, voxels.shape[2], planes)
    ]
    return apply_matrices(np.concatenate(parts, axis=2), [None, None, along])


class InverseResampling:
    """Resampling of a box of the network's grid back to native voxels, slab by slab towards the feet.

    Outside the box all values are 0. `box` is the part of the native volume, its axes turned, that depends
    on the grid's box.
    """

    def __init__(self, grid: NetworkGrid, box: Box) -> None:
        axes = zip(grid.shape, grid.oriented_shape, box, strict=True)
        weights = [interpolation_matrix(old, new)[:, side] for old, new, side in axes]
        x, y, z = (source_range(matrix.T) for matrix in weights)
        self.box: Box = (x, y, z)
        self.reaches_any = all(side.stop > side.start for side in self.box)
        """Whether any native voxel depends on the box."""
        self._across = [matrix[side] for matrix, side in zip(weights[:2], (x, y), strict=True)]
        self._along = weights[2]
        self._last: list[int] = [int(np.flatnonzero(row)[-1]) for row in self._along[z]]
        self.changes_nothing = grid.shape == grid.oriented_shape

    def finished_planes(self, planes: int) -> int:
        """The end of the native planes that depend on the first `planes` of the box only."""
        return int(self.box[2].start + np.searchsorted(self._last, planes))

    def to_native(self, values: Array, begun: int, native: slice) -> Array:
        """The `native` planes (X, Y, Z) by the values (..., Z) of the box's planes from `begun` on.

        They are float32 unless `changes_nothing`.
        """
        if self.changes_nothing:
            first = native.start - self.box[2].start - begun
            return values[..., first : first + native.stop - native.start]
        along = self._along[native, begun : begun + values.shape[2]]
        return apply_matrices(values, [*self._across, along])
