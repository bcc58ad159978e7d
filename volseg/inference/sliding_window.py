"""Sliding-window inference: windows placed evenly, weighted by a Gaussian, summed in 16 bits layer by layer.

Logits are summed as whole numbers of 1/STEPS, or of less where very many windows overlap, so a result
depends neither on the order of the windows nor on how many are computed at a time. Engines weight the logits
(`weighted_logits` is the reference).
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from volseg.arrays import Box
from volseg.data.preprocessing.grid import NetworkInput
from volseg.model.engines.interface import STEPS, Floats, Sums, WeightedWindow, WindowNetwork
from volseg.system.timing import StepTimer

WideSums = npt.NDArray[np.int16 | np.int32]
FLOOR = 1e-3
"""The least weight of a voxel in MONAI's Gaussian, whose middle weighs 1."""
WIDE_ABOVE = 0.75
"""The overlap above which hundreds of windows share a voxel: each adds too little to be rounded to a step."""
BITS = 7
"""Binary digits of a step in wide sums."""
SIGMA = 0.125
"""The Gaussian's standard deviation as a share of the window, as in MONAI and nnU-Net."""


@dataclass(frozen=True)
class AxisTiling:
    """The first voxels of the windows along one axis, and the weights of their voxels, (N or 1, window)."""

    starts: tuple[int, ...]
    weights: Floats

    def voxel_weights(self, number: int) -> Floats:
        """The weights of one window's voxels, (window,)."""
        row: Floats = self.weights[number % len(self.weights)]
        return row

    @classmethod
    def for_range(
        cls, inside: slice, voxels: int, window: int, overlap: float, *, even: bool = True
    ) -> "AxisTiling":
        """The fewest windows with at least this overlap that cover `inside` of an axis, placed evenly.

        They lie within the axis; one that is longer than the axis is centred on it. Where they are not
        `even`, they are placed as by MONAI: all steps are alike but the last.
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
    whose Gaussian is nowhere below FLOOR.
    """

    shape: tuple[int, ...]
    box: Box
    window: tuple[int, int, int]
    overlap: float
    even: bool = True

    @cached_property
    def axis_tilings(self) -> tuple[AxisTiling, AxisTiling, AxisTiling]:
        """The windows along each axis."""
        axes = zip(self.box, self.shape, self.window, strict=True)
        x, y, z = (AxisTiling.for_range(inside, n, w, self.overlap, even=self.even) for inside, n, w in axes)
        return x, y, z

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
        return np.maximum(_outer_product(*(_gaussian_window(n) for n in self.window)), FLOOR)

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
        total = np.zeros(self.layer_shape, np.float32)
        for start in z.starts:
            offset = start - z.starts[layer]
            if abs(offset) < z.window:
                target = slice(max(0, offset), z.window + min(0, offset))
                source = slice(max(0, -offset), z.window - max(0, offset))
                total[..., target] += self._layer_weights[..., source]
        return np.divide(np.float32(STEPS), total, out=total)


def accumulate_windows(
    view: NetworkInput, tiling: Tiling, network: WindowNetwork, spent: StepTimer
) -> Iterator[tuple[int, Sums]]:
    """The layers of the box towards the feet, each as soon as its windows are done.

    Yields the number of the layer's first plane within the box and the sums of logits (K, X, Y, planes),
    which are valid until the next layer.

    Raises:
        UserError: voxels or the network's output are no finite numbers.
    """
    x, y, z = tiling.axis_tilings
    across = [
        slice(inside.start - side.full_range.start, inside.stop - side.full_range.start)
        for inside, side in zip(tiling.box, (x, y, z), strict=True)
    ][:2]
    inner_z = tiling.box[2]
    scale = _WindowScale(tiling.overlap > WIDE_ABOVE)
    windows = spent.time_items("normalise", scale.enlarge_weights(_weighted_windows(view, tiling)))
    parts = spent.time_items("network", scale.align_parts(network.parts(windows)))
    sums: WideSums = np.zeros((0,), np.int16)
    for k, start in enumerate(z.starts):
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            part = next(parts)
            if not sums.size:
                sums = np.zeros((len(part), *tiling.layer_shape), part.dtype)
            sums[:, x.window_slice(i), y.window_slice(j)] += part
        first = max(start, inner_z.start)
        stop = z.starts[k + 1] if k + 1 < len(z.starts) else inner_z.stop
        finished = sums[:, across[0], across[1], first - start : stop - start]
        yield first - inner_z.start, scale.round_sums(finished)
        if k + 1 == len(z.starts):
            return
        sums[..., : start + z.window - stop] = sums[..., stop - start :].copy()
        sums[..., start + z.window - stop :] = 0


class _WindowScale:
    """The powers of two by which windows of little weight are enlarged, so that engines round less away.

    Sums of enlarged parts are 32 bits wide and count in 2**-BITS of a step. Where nothing is enlarged, parts
    and sums stay as they are.
    """

    def __init__(self, wide: bool) -> None:
        self._wide = wide
        self._shifts = deque[int]()

    def enlarge_weights(self, windows: Iterator[WeightedWindow]) -> Iterator[WeightedWindow]:
        for window in windows:
            if not self._wide:
                yield window
                continue
            shift = min(BITS, math.floor(math.log2(STEPS / float(window.weight.max()))))
            self._shifts.append(shift)
            yield WeightedWindow(window.image, window.weight * np.float32(1 << shift))

    def align_parts(self, parts: Iterator[Sums]) -> Iterator[WideSums]:
        for part in parts:
            yield part.astype(np.int32) << (BITS - self._shifts.popleft()) if self._wide else part

    def round_sums(self, sums: WideSums) -> Sums:
        if self._wide:
            sums = (sums + (1 << BITS - 1)) >> BITS
        return sums.astype(np.int16, copy=False)


def _weighted_windows(view: NetworkInput, tiling: Tiling) -> Iterator[WeightedWindow]:
    """The image and weights of each window, in the order in which `accumulate_windows` adds them."""
    x, y, z = tiling.axis_tilings
    for k, start in enumerate(z.starts):
        layer = padded_box(view, (x.full_range, y.full_range, slice(start, start + z.window)))
        shares = None if tiling.even else tiling.gaussian_shares(k)
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            inside = x.window_slice(i), y.window_slice(j)
            if shares is None:
                steps = np.float32(STEPS) * x.voxel_weights(i)
                weight = _outer_product(steps, y.voxel_weights(j), z.voxel_weights(k))
            else:
                weight = tiling.gaussian_weights * shares[inside]
            yield WeightedWindow(layer[:, *inside], weight)


def padded_box(view: NetworkInput, box: Box) -> Floats:
    """The voxels (C, X, Y, Z) in a box of the scan, zeros where the box reaches beyond the scan."""
    ends = list(zip(box, view.grid.shape, strict=True))
    x, y, z = (slice(max(0, side.start), min(n, side.stop)) for side, n in ends)
    part = view.read_box((x, y, z))
    padding = [(max(0, -side.start), max(0, side.stop - n)) for side, n in ends]
    return np.pad(part, [(0, 0), *padding]) if np.any(padding) else part


def _outer_product(x: Floats, y: Floats, z: Floats) -> Floats:
    """The product (X, Y, Z) of weights along each axis."""
    weights: Floats = (x[:, None] * y)[:, :, None] * z
    return weights


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
