"""The windows of sliding-window inference: placed evenly and weighted by a Gaussian, or both as by MONAI."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from volseg.arrays import Box
from volseg.model.engines.interface import STEPS, Array, Floats

FLOOR = 1e-3
"""The least weight of a voxel in MONAI's Gaussian, whose middle weighs 1."""
WIDE_ABOVE = 0.75
"""The overlap above which hundreds of windows share a voxel: each adds too little to be rounded to a step."""
SIGMA = 0.125
"""The Gaussian's standard deviation as a share of the window, as in MONAI and nnU-Net."""


@dataclass(frozen=True)
class AxisTiling:
    """The first voxels of the windows along one axis, and the weights of their voxels, (N or 1, window)."""

    starts: tuple[int, ...]
    weights: Floats

    @classmethod
    def for_range(
        cls, inside: slice, voxels: int, window: int, overlap: float, *, even: bool = True
    ) -> "AxisTiling":
        """The fewest windows with at least this overlap that cover `inside` of an axis, placed evenly.

        They lie within the axis; one that is longer than the axis is centred on it. Where they are not
        `even`, they are placed as by MONAI: all steps are alike but the last.
        """
        step = max(1, int(window * (1 - overlap)))
        starts = _window_starts(inside, voxels, window, step, even=even)
        return cls(starts, _normalised_gaussians(starts, window) if even else _gaussian_window(window)[None])

    @classmethod
    def for_slices(cls, inside: slice, voxels: int, window: int, reach: int) -> "AxisTiling":
        """The fewest windows that show each slice of `inside` its neighbours on both sides, up to `reach`.

        Slices near a window's end, whose neighbours the scan has but the window has not, weigh 0 in it. Each
        slice of `inside` weighs 1 in one window, and 0 in others, since all would find the same.
        """
        with_neighbours = slice(max(0, inside.start - reach), min(voxels, inside.stop + reach))
        starts = _window_starts(with_neighbours, voxels, window, window - 2 * reach)
        weights = np.zeros((len(starts), window), np.float32)
        done = starts[0] + (reach if starts[0] > 0 else 0)
        for row, start in zip(weights, starts, strict=True):
            stop = start + window - (reach if start + window < voxels else 0)
            row[done - start : stop - start] = 1
            done = stop
        return cls(starts, weights)

    @property
    def window(self) -> int:
        """The number of voxels of a window."""
        return int(self.weights.shape[1])

    @property
    def full_range(self) -> slice:
        """From the start of the first window to the end of the last; may reach beyond the axis."""
        return slice(self.starts[0], self.starts[-1] + self.window)

    def window_slice(self, number: int) -> slice:
        """The place of a window, counted from the start of the first."""
        begin = self.starts[number] - self.starts[0]
        return slice(begin, begin + self.window)


@dataclass(frozen=True)
class Tiling:
    """The windows over a box of a grid, all in voxels (X, Y, Z).

    The Gaussian of `even` windows is a product of the axes'; others are placed and weighted as by MONAI,
    whose Gaussian is nowhere below FLOOR. A network with a `reach` along z sees each slice with its
    neighbours up to there, those beyond the scan clamped to its ends; its windows along z are always by
    `for_slices`.
    """

    shape: tuple[int, ...]
    box: Box
    window: tuple[int, int, int]
    overlap: float
    even: bool = True
    reach: int = 0

    @cached_property
    def axis_tilings(self) -> tuple[AxisTiling, AxisTiling, AxisTiling]:
        """The windows along each axis."""
        axes = zip(self.box, self.shape, self.window, strict=True)
        x, y, z = (AxisTiling.for_range(inside, n, w, self.overlap, even=self.even) for inside, n, w in axes)
        if self.reach:
            z = AxisTiling.for_slices(self.box[2], self.shape[2], self.window[2], self.reach)
        return x, y, z

    @property
    def wide(self) -> bool:
        """Whether sums need more digits than a step has."""
        return self.overlap > WIDE_ABOVE

    @property
    def window_count(self) -> int:
        """The number of windows."""
        return math.prod(len(side.starts) for side in self.axis_tilings)

    @property
    def layer_shape(self) -> tuple[int, int, int]:
        """The shape (X, Y, Z) of one layer: all windows that begin in the same plane."""
        x, y, z = self.axis_tilings
        return (x.full_range.stop - x.full_range.start, y.full_range.stop - y.full_range.start, z.window)

    @cached_property
    def gaussian_weights(self) -> Floats:
        """The weights of a window's voxels with MONAI, (X, Y, Z)."""
        x, y, z = (_gaussian_window(n) for n in self.window)
        weights: Floats = outer_product(x, y, np.ones_like(z) if self.reach else z)
        return np.maximum(weights, FLOOR)

    @cached_property
    def _layer_weights(self) -> Floats:
        """The sum of the weights of one layer's windows with MONAI, (X, Y, Z)."""
        x, y, _ = self.axis_tilings
        total = np.zeros(self.layer_shape, np.float32)
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            total[x.window_slice(i), y.window_slice(j)] += self.gaussian_weights
        return total

    def gaussian_shares(self, layer: int) -> Floats:
        """STEPS by the sum of the weights of all windows in a layer with MONAI, (X, Y, Z)."""
        z = self.axis_tilings[2]
        if self.reach:
            shares: Floats = z.weights[layer] * np.float32(STEPS) / self._layer_weights
            return shares
        total = np.zeros(self.layer_shape, np.float32)
        for start in z.starts:
            offset = start - z.starts[layer]
            if abs(offset) < z.window:
                target = slice(max(0, offset), z.window + min(0, offset))
                source = slice(max(0, -offset), z.window - max(0, offset))
                total[..., target] += self._layer_weights[..., source]
        return np.divide(np.float32(STEPS), total, out=total)


def _window_starts(
    inside: slice, voxels: int, window: int, step: int, *, even: bool = True
) -> tuple[int, ...]:
    """The first voxels of the fewest windows no more than a step apart that cover `inside` of an axis."""
    begin, end = inside.start, inside.stop
    if voxels <= window:
        return (-((window - voxels) // 2),)
    if end - begin <= window:
        about = begin - (window - (end - begin)) // 2
        return (min(max(about, 0), voxels - window),)
    count = math.ceil((end - begin - window) / step) + 1
    spread = np.linspace(begin, end - window, count).round()
    steps = np.minimum(begin + step * np.arange(count), end - window)
    return tuple(int(x) for x in (spread if even else steps))


def outer_product(x: Array, y: Array, z: Array) -> Array:
    """The product (X, Y, Z) of weights along each axis."""
    return (x[:, None] * y)[:, :, None] * z


def _normalised_gaussians(starts: Sequence[int], window: int) -> Floats:
    """A Gaussian for each window, (N, window), scaled so that at each voxel all add up to 1."""
    shape = _gaussian_window(window)
    total = np.zeros(starts[-1] - starts[0] + window)
    for start in starts:
        total[start - starts[0] :][:window] += shape
    return np.stack([shape / total[start - starts[0] :][:window] for start in starts]).astype(np.float32)


def _gaussian_window(window: int) -> Floats:
    distance = np.arange(window) - (window - 1) / 2
    shape: Floats = np.exp(-0.5 * (distance / (SIGMA * window)) ** 2).astype(np.float32)
    return shape
