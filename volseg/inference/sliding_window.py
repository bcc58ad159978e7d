"""The sliding window: evenly placed, blended by a Gaussian, summed in 16 bits, layer by layer.

Logits are summed as whole numbers of 1/STEPS, so a result depends neither on the order of the windows
nor on how many are in work at a time. What each window adds is made by the engine (`counted` says what
that is), so that it is done where the logits are, by all cores.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from volseg.arrays import Box
from volseg.data.preprocessing.grid import NetworkInput
from volseg.model.engines.interface import STEPS, Floats, Sums, WeightedWindow, WindowNetwork
from volseg.system.timing import StepTimer

FLOOR = 1e-3
"""The least that a voxel of a window counts with MONAI, where the middle counts 1."""
SIGMA = 0.125
"""The Gaussian's deviation as a share of the window, as in MONAI and nnU-Net."""


@dataclass(frozen=True)
class AxisTiling:
    """Where windows begin along one axis, and what each of their voxels counts, (N or 1, window)."""

    starts: tuple[int, ...]
    weights: Floats

    def voxel_weights(self, number: int) -> Floats:
        """What each voxel of a window counts."""
        row: Floats = self.weights[number % len(self.weights)]
        return row

    @classmethod
    def for_range(
        cls, inside: slice, voxels: int, window: int, overlap: float, *, even: bool = True
    ) -> "AxisTiling":
        """As few windows as cover `inside` of an axis with at least this overlap, placed evenly.

        They lie within the axis; where it is shorter than one, that lies about its middle. Otherwise
        than evenly they are placed as by MONAI: all steps are alike but the last.
        """
        begin, end = inside.start, inside.stop
        if voxels <= window:
            starts: tuple[int, ...] = (-((window - voxels) // 2),)
        elif end - begin <= window:
            about = begin - (window - (end - begin)) // 2
            starts = (min(max(about, 0), voxels - window),)
        else:
            step = max(1, int(window * (1 - overlap)))
            count = math.ceil((end - begin - window) / step) + 1
            spread = np.linspace(begin, end - window, count).round()
            steps = np.minimum(begin + step * np.arange(count), end - window)
            starts = tuple(int(x) for x in (spread if even else steps))
        return cls(starts, _normalised_gaussians(starts, window) if even else _gaussian_window(window)[None])

    @property
    def window(self) -> int:
        """Voxels of a window."""
        return int(self.weights.shape[1])

    @property
    def full_range(self) -> slice:
        """From where the first window begins to where the last one ends; may reach beyond the axis."""
        return slice(self.starts[0], self.starts[-1] + self.window)

    def window_slice(self, number: int) -> slice:
        """Where a window lies, counted from the first one."""
        begin = self.starts[number] - self.starts[0]
        return slice(begin, begin + self.window)


@dataclass(frozen=True)
class Tiling:
    """The windows over a box of a grid of this shape, all in voxels (X, Y, Z).

    `even` ones have a Gaussian that separates into the axes; others are placed and weighted as by MONAI,
    whose Gaussian is nowhere below FLOOR.
    """

    shape: tuple[int, ...]
    box: Box
    window: tuple[int, int, int]
    overlap: float
    even: bool = True

    @cached_property
    def axis_tilings(self) -> tuple[AxisTiling, AxisTiling, AxisTiling]:
        """Of each axis."""
        axes = zip(self.box, self.shape, self.window, strict=True)
        x, y, z = (AxisTiling.for_range(inside, n, w, self.overlap, even=self.even) for inside, n, w in axes)
        return x, y, z

    @property
    def window_count(self) -> int:
        """How many windows there are."""
        return math.prod(len(side.starts) for side in self.axis_tilings)

    @property
    def layer_shape(self) -> tuple[int, int, int]:
        """The shape of all windows of one layer together."""
        x, y, z = self.axis_tilings
        return (x.full_range.stop - x.full_range.start, y.full_range.stop - y.full_range.start, z.window)

    @cached_property
    def gaussian_weights(self) -> Floats:
        """What each voxel of a window counts with MONAI, (X, Y, Z)."""
        return np.maximum(_outer_product(*(_gaussian_window(n) for n in self.window)), FLOOR)

    @cached_property
    def _layer_weights(self) -> Floats:
        """The sum of the Gaussians of one layer's windows, (X, Y, Z)."""
        x, y, _ = self.axis_tilings
        total = np.zeros(self.layer_shape, np.float32)
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            total[x.window_slice(i), y.window_slice(j)] += self.gaussian_weights
        return total

    def gaussian_shares(self, layer: int) -> Floats:
        """STEPS by what all windows count in a layer with MONAI, (X, Y, Z)."""
        z = self.axis_tilings[2]
        total = np.zeros(self.layer_shape, np.float32)
        for start in z.starts:
            above = start - z.starts[layer]
            if abs(above) < z.window:
                there = slice(max(0, above), z.window + min(0, above))
                own = slice(max(0, -above), z.window - max(0, above))
                total[..., there] += self._layer_weights[..., own]
        return np.divide(np.float32(STEPS), total, out=total)


def accumulate_windows(
    view: NetworkInput, tiling: Tiling, network: WindowNetwork, spent: StepTimer
) -> Iterator[tuple[int, Sums]]:
    """Each layer of the box as soon as its windows are done, towards the feet.

    That is its first plane, counted from the box's, and the sums of logits (K, X, Y, planes), valid
    until the next is asked for.

    Raises:
        UserError: voxels or the network's output are no finite numbers.
    """
    x, y, z = tiling.axis_tilings
    across = [
        slice(inside.start - side.full_range.start, inside.stop - side.full_range.start)
        for inside, side in zip(tiling.box, (x, y, z), strict=True)
    ][:2]
    inner_z = tiling.box[2]
    windows = spent.time_items("normalise", _weighted_windows(view, tiling))
    parts = spent.time_items("network", network.parts(windows))
    sums = np.zeros((0,), np.int16)
    for k, start in enumerate(z.starts):
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            part = next(parts)
            if not sums.size:
                sums = np.zeros((len(part), *tiling.layer_shape), np.int16)
            sums[:, x.window_slice(i), y.window_slice(j)] += part
        first = max(start, inner_z.start)
        stop = z.starts[k + 1] if k + 1 < len(z.starts) else inner_z.stop
        yield first - inner_z.start, sums[:, across[0], across[1], first - start : stop - start]
        if k + 1 == len(z.starts):
            return
        sums[..., : start + z.window - stop] = sums[..., stop - start :].copy()
        sums[..., start + z.window - stop :] = 0


def _weighted_windows(view: NetworkInput, tiling: Tiling) -> Iterator[WeightedWindow]:
    """The image in each window, in the order in which `blended` adds them."""
    x, y, z = tiling.axis_tilings
    for k, start in enumerate(z.starts):
        layer = padded_box(view, (x.full_range, y.full_range, slice(start, start + z.window)))
        shares = None if tiling.even else tiling.gaussian_shares(k)
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            inside = x.window_slice(i), y.window_slice(j)
            if shares is None:
                weight = _outer_product(
                    np.float32(STEPS) * x.voxel_weights(i), y.voxel_weights(j), z.voxel_weights(k)
                )
            else:
                weight = tiling.gaussian_weights * shares[inside]
            yield WeightedWindow(layer[:, *inside], weight)


def padded_box(view: NetworkInput, box: Box) -> Floats:
    """A box of the scan, with zeros where it reaches beyond."""
    ends = zip(box, view.grid.shape, strict=True)
    x, y, z = (slice(max(0, one.start), min(n, one.stop)) for one, n in ends)
    around = [
        (inside.start - one.start, one.stop - inside.stop) for one, inside in zip(box, (x, y, z), strict=True)
    ]
    part = view.read_box((x, y, z))
    return np.pad(part, [(0, 0), *around]) if np.any(around) else part


def _outer_product(x: Floats, y: Floats, z: Floats) -> Floats:
    """The product of a number for each axis, (X, Y, Z)."""
    product_: Floats = (x[:, None] * y)[:, :, None] * z
    return product_


def _normalised_gaussians(starts: Sequence[int], window: int) -> Floats:
    """A Gaussian for each window, scaled so that at each voxel all add up to 1."""
    shape = _gaussian_window(window)
    total = np.zeros(starts[-1] - starts[0] + window)
    for start in starts:
        total[start - starts[0] : start - starts[0] + window] += shape
    rows = [shape / total[start - starts[0] : start - starts[0] + window] for start in starts]
    return np.stack(rows).astype(np.float32)


def _gaussian_window(window: int) -> Floats:
    away = np.arange(window) - (window - 1) / 2
    shape: Floats = np.exp(-0.5 * (away / (SIGMA * window)) ** 2).astype(np.float32)
    return shape
