"""The deterministic way from a native volume to what a network sees, and the way back.

Training, validation and inference all pass here: orient, scale intensities, resample; restore.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from volseg.data.volume import Array, Volume
from volseg.errors import UserError
from volseg.schema import Choice, Section

Spacing = tuple[
    Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]
]
LPI = np.array([[0, -1], [1, -1], [2, -1]])
"""nibabel's code of the raw layout's axes: columns to the left, rows to the back, slices to the feet."""


class _Scaling(Section):
    """What the scalings share: two values in order, which become 0 and 1."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            message = f"low must be below high (got {self.low} and {self.high})"
            raise ValueError(message)
        return self


class Percentiles(_Scaling):
    """Scale so that these percentiles of the body's voxels (above zero) become 0 and 1, and clip.

    More than half of an MR scan is exact zeros whose share follows the field of view, so they are
    left out. Of the whole volume, never of a patch or a slice.
    """

    name: Literal["percentiles"] = "percentiles"
    low: float = Field(default=0.5, ge=0, lt=100)
    high: float = Field(default=99.5, gt=0, le=100)

    def scale(self, voxels: Array) -> npt.NDArray[np.float32]:
        """(X, Y, Z) in any unit to float32 in [0, 1]."""
        body = voxels[voxels > 0]
        low, high = np.percentile(body if body.size else voxels, (self.low, self.high))
        return _scaled(voxels, float(low), float(high))


class Window(_Scaling):
    """Scale a fixed window of values to [0, 1] and clip: for CT, whose units are absolute."""

    name: Literal["window"] = "window"

    def scale(self, voxels: Array) -> npt.NDArray[np.float32]:
        """(X, Y, Z) in the window's unit to float32 in [0, 1]."""
        return _scaled(voxels, self.low, self.high)


Intensity = Annotated[Percentiles | Window, Choice()]


@dataclass(frozen=True)
class Grid:
    """The network's grid over one native volume: oriented as LPI, with `spacing_mm` or the native one."""

    native_shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]
    spacing_mm: Spacing | None = None

    @classmethod
    def over(cls, volume: Volume, spacing_mm: Spacing | None) -> "Grid":
        """The grid that covers a volume."""
        x, y, z = volume.voxels.shape
        return cls((x, y, z), volume.affine, spacing_mm)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(X, Y, Z) of the network's grid."""
        oriented = self._oriented_shape
        if self.spacing_mm is None:
            return oriented
        ratio = np.asarray(self.oriented_mm) / np.asarray(self.spacing_mm)
        return tuple(max(1, round(n * r)) for n, r in zip(oriented, ratio, strict=True))

    @property
    def oriented_mm(self) -> Spacing:
        """The native voxel size along the oriented axes."""
        native_mm = np.linalg.norm(self.affine[:3, :3], axis=0)
        x, y, z = native_mm[np.argsort(self._turn[:, 0])].tolist()
        return x, y, z

    def image(self, voxels: Array, intensity: Percentiles | Window) -> npt.NDArray[np.float32]:
        """One native channel, oriented, scaled to [0, 1] and resampled linearly."""
        return _resample(intensity.scale(self.orient(voxels)), self.shape)

    def mask(self, voxels: Array) -> npt.NDArray[np.uint8]:
        """A native binary mask as 0/1; resampled linearly and cut at one half, so it stays binary."""
        oriented = self.orient(voxels)
        if oriented.shape == self.shape:
            return np.ascontiguousarray(oriented, dtype=np.uint8)
        resampled = _resample(oriented.astype(np.float32), self.shape) >= 0.5
        return resampled.astype(np.uint8)

    def restore(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values on the network's grid brought back to the native one."""
        import nibabel

        oriented = _resample(values, self._oriented_shape)
        back = nibabel.orientations.ornt_transform(LPI, self._native_axes)
        restored = nibabel.orientations.apply_orientation(oriented, back)
        return np.ascontiguousarray(restored, dtype=np.float32)

    def fitted(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values (X, Y, Z) of another network's grid over the same volume, on this one."""
        return _resample(values, self.shape)

    def orient(self, voxels: Array) -> Array:
        """Native voxels with their axes turned to LPI; a view."""
        import nibabel

        oriented: Array = nibabel.orientations.apply_orientation(voxels, self._turn)
        return oriented

    @cached_property
    def _native_axes(self) -> Array:
        import nibabel

        axes: Array = nibabel.orientations.io_orientation(self.affine)
        return axes

    @cached_property
    def _turn(self) -> Array:
        import nibabel

        turn: Array = nibabel.orientations.ornt_transform(self._native_axes, LPI)
        return turn

    @cached_property
    def _oriented_shape(self) -> tuple[int, ...]:
        order = np.argsort(self._turn[:, 0])
        return tuple(self.native_shape[axis] for axis in order)


def stack(
    channels: Sequence[Volume], spacing_mm: Spacing | None, intensity: Percentiles | Window
) -> tuple[Grid, npt.NDArray[np.float32]]:
    """The network's grid and its input, float32 (C, X, Y, Z), from a scan's native channels.

    Raises:
        UserError: channels on different grids, or voxels that are no numbers.
    """
    first = channels[0]
    for number, channel in enumerate(channels[1:], start=2):
        if not channel.same_grid(first):
            raise UserError(
                f"channel {number} has the shape {channel.voxels.shape} and spacing "
                f"{channel.spacing_mm} mm, channel 1 {first.voxels.shape} and {first.spacing_mm} mm, "
                "or lies elsewhere; resample them to one grid"
            )
    grid = Grid.over(first, spacing_mm)
    return grid, np.stack([grid.image(channel.voxels, intensity) for channel in channels])


def _scaled(voxels: Array, low: float, high: float) -> npt.NDArray[np.float32]:
    scaled = voxels.astype(np.float32)
    scaled -= low
    scaled /= (high - low) or 1.0
    if not np.isfinite(scaled).all():
        raise UserError(
            "the image holds NaN or infinite voxels; replace them by the background's value"
        )
    return np.clip(scaled, 0, 1, out=scaled)


def _resample(values: npt.NDArray[np.float32], shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Linear interpolation between grids that cover the same box (voxel borders aligned)."""
    if values.shape == tuple(shape):
        return values
    from scipy import ndimage

    zoom = [new / old for new, old in zip(shape, values.shape, strict=True)]
    resampled: npt.NDArray[np.float32] = ndimage.zoom(
        values, zoom, order=1, mode="nearest", grid_mode=True
    )
    return resampled
