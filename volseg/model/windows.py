"""The sliding window: evenly placed, blended by a Gaussian, summed in 16 bits, layer by layer.

Logits are summed as whole numbers of 1/STEPS, so a result depends neither on the order of the windows
nor on how many are in work at a time.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Protocol

import numpy as np
import numpy.typing as npt

from volseg.data.grid import View
from volseg.errors import UserError
from volseg.masks.crop import Box
from volseg.model.seconds import Seconds

Floats = npt.NDArray[np.float32]
Sums = npt.NDArray[np.int16]
STEPS = 1024
"""Steps of a sum in one logit."""
LARGEST = 31.5
"""Logits beyond it count as this, so sums stay within 16 bits; it is within 1e-13 of certainty."""
IN_CACHE = 8
"""Planes that are added together: what they take stays in a core's cache."""
FLOOR = 1e-3
"""The least that a voxel of a window counts with MONAI, where the middle counts 1."""
SIGMA = 0.125
"""The Gaussian's deviation as a share of the window, as in MONAI and nnU-Net."""


class Network(Protocol):
    """What is slid over a scan."""

    def outputs(self, windows: Iterator[Floats]) -> Iterator[Floats]:
        """Windows (C, X, Y, Z) as logits (K, X, Y, Z), in order.

        Windows are asked for as they are needed; what is returned is valid until the next is asked for.
        """
        ...

    def __str__(self) -> str:
        """By what, on what and in which arithmetic: `torch, cpu (2 threads), bfloat16`."""
        ...


@dataclass(frozen=True)
class Side:
    """Where windows begin along one axis, and what each of their voxels counts, (N or 1, window)."""

    starts: tuple[int, ...]
    weights: Floats

    def row(self, number: int) -> Floats:
        """What each voxel of a window counts."""
        row: Floats = self.weights[number % len(self.weights)]
        return row

    @classmethod
    def over(
        cls, inside: slice, voxels: int, window: int, overlap: float, *, even: bool = True
    ) -> "Side":
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
        return cls(starts, _weights(starts, window) if even else _gaussian(window)[None])

    @property
    def window(self) -> int:
        """Voxels of a window."""
        return int(self.weights.shape[1])

    @property
    def all(self) -> slice:
        """From where the first window begins to where the last one ends; may reach beyond the axis."""
        return slice(self.starts[0], self.starts[-1] + self.window)

    def place(self, number: int) -> slice:
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
    def sides(self) -> tuple[Side, Side, Side]:
        """Of each axis."""
        axes = zip(self.box, self.shape, self.window, strict=True)
        x, y, z = (Side.over(inside, n, w, self.overlap, even=self.even) for inside, n, w in axes)
        return x, y, z

    @property
    def count(self) -> int:
        """How many windows there are."""
        return math.prod(len(side.starts) for side in self.sides)

    @property
    def layer(self) -> tuple[int, int, int]:
        """The shape of all windows of one layer together."""
        x, y, z = self.sides
        return x.all.stop - x.all.start, y.all.stop - y.all.start, z.window


def blended(
    view: View, tiling: Tiling, network: Network, spent: Seconds
) -> Iterator[tuple[int, Sums]]:
    """Each layer of the box as soon as its windows are done, towards the feet.

    That is its first plane, counted from the box's, and the sums of logits (K, X, Y, planes), valid
    until the next is asked for.

    Raises:
        UserError: voxels or the network's output are no finite numbers.
    """
    x, y, z = tiling.sides
    across = [
        slice(inside.start - side.all.start, inside.stop - side.all.start)
        for inside, side in zip(tiling.box, (x, y, z), strict=True)
    ][:2]
    inner_z = tiling.box[2]
    windows = spent.each("normalise", _windows(view, tiling))
    logits = spent.each("network", network.outputs(windows))
    sums = np.zeros((0,), np.int16)
    for k, start in enumerate(z.starts):
        total = None if tiling.even else _total(tiling, k)
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            found = next(logits)
            if not sums.size:
                sums = np.zeros((len(found), *tiling.layer), np.int16)
            inside = x.place(i), y.place(j)
            rest = None if total is None else total[inside]
            if not _add(sums[:, *inside], found, _rows(tiling, (i, j, k)), rest):
                raise UserError(
                    f"the network's output is not finite by {network}; "
                    "set train.precision: fp32 in the run's config.yaml"
                )
        first = max(start, inner_z.start)
        stop = z.starts[k + 1] if k + 1 < len(z.starts) else inner_z.stop
        yield first - inner_z.start, sums[:, across[0], across[1], first - start : stop - start]
        sums[..., : start + z.window - stop] = sums[..., stop - start :].copy()
        sums[..., start + z.window - stop :] = 0


def _windows(view: View, tiling: Tiling) -> Iterator[Floats]:
    """The image in each window, (C, X, Y, Z), in the order in which `blended` adds them."""
    x, y, z = tiling.sides
    for start in z.starts:
        layer = padded(view, (x.all, y.all, slice(start, start + z.window)))
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            yield layer[:, x.place(i), y.place(j)]


def padded(view: View, box: Box) -> Floats:
    """A box of the scan, with zeros where it reaches beyond."""
    ends = zip(box, view.grid.shape, strict=True)
    x, y, z = (slice(max(0, one.start), min(n, one.stop)) for one, n in ends)
    around = [
        (inside.start - one.start, one.stop - inside.stop)
        for one, inside in zip(box, (x, y, z), strict=True)
    ]
    part = view.part((x, y, z))
    return np.pad(part, [(0, 0), *around]) if np.any(around) else part


def _rows(tiling: Tiling, number: tuple[int, int, int]) -> list[Floats]:
    """What each voxel of a window counts along each axis."""
    return [side.row(n) for side, n in zip(tiling.sides, number, strict=True)]


def _weight(rows: Sequence[Floats], *, even: bool) -> Floats:
    """What each voxel of a window, or of some of its planes, counts, (X, Y, Z)."""
    x, y, z = rows
    weight: Floats = (x[:, None] * y)[:, :, None] * z
    return weight if even else np.maximum(weight, FLOOR)


def _total(tiling: Tiling, layer: int) -> Floats:
    """The sum of all windows' weights in a layer, (X, Y, Z)."""
    x, y, z = tiling.sides
    total = np.zeros(tiling.layer, np.float32)
    for i, j, k in product(*(range(len(side.starts)) for side in (x, y, z))):
        above = z.starts[k] - z.starts[layer]
        if abs(above) < z.window:
            there = slice(max(0, above), z.window + min(0, above))
            own = slice(max(0, -above), z.window - max(0, above))
            weight = _weight(_rows(tiling, (i, j, k)), even=False)
            total[x.place(i), y.place(j), there] += weight[..., own]
    return total


def _add(sums: Sums, logits: Floats, rows: Sequence[Floats], total: Floats | None) -> bool:
    """Add a window's logits, (K, X, Y, Z) both, by what its voxels count; whether they are finite.

    `total` (X, Y, Z) is what all windows together count, where that is not 1.
    """
    x, y, z = rows
    finite = True
    for begun in range(0, len(x), IN_CACHE):
        some = slice(begun, begun + IN_CACHE)
        weight = _weight((x[some], y, z), even=total is None)
        weight *= np.float32(STEPS) if total is None else np.float32(STEPS) / total[some]
        for sum_, values in zip(sums, logits, strict=True):
            finite &= math.isfinite(values[some].sum())
            counted = np.clip(values[some], -LARGEST, LARGEST, dtype=np.float32)
            counted *= weight
            with np.errstate(invalid="ignore"):  # what is no number is told by the caller
                sum_[some] += np.rint(counted, out=counted).astype(np.int16)
    return finite


def _weights(starts: Sequence[int], window: int) -> Floats:
    """A Gaussian for each window, scaled so that at each voxel all add up to 1."""
    shape = _gaussian(window)
    total = np.zeros(starts[-1] - starts[0] + window)
    for start in starts:
        total[start - starts[0] : start - starts[0] + window] += shape
    rows = [shape / total[start - starts[0] : start - starts[0] + window] for start in starts]
    return np.stack(rows).astype(np.float32)


def _gaussian(window: int) -> Floats:
    away = np.arange(window) - (window - 1) / 2
    shape: Floats = np.exp(-0.5 * (away / (SIGMA * window)) ** 2).astype(np.float32)
    return shape
