"""Class probabilities in 8 bits on the native grid, compressed, from sums of logits.

Each overlapping class has a sigmoid of its own. Exclusive classes share a softmax with the background,
whose logit is always 0 (`volseg.model.losses.terms`).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from volseg.arrays import Box
from volseg.data.preprocessing.grid import InverseResampling, NetworkGrid
from volseg.model.engines.interface import STEPS, Sums

Bytes = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.uint8 | np.uint16]
Number = TypeVar("Number", bound=np.generic)
AT_ONCE = 1 << 21
"""Voxels that are resampled together, at least one plane: so memory does not grow with the scan."""


@lru_cache(maxsize=8)
def sigmoid_table(scale: int) -> npt.NDArray[np.float32]:
    """`scale` times the sigmoid of every sum of logits, (65536,), by the sum's bits as an unsigned number."""
    sums = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    return (scale / (1 + np.exp(-sums.astype(np.float64) / STEPS))).astype(np.float32)


def decision_margins(sums: Sums, *, exclusive: bool) -> Iterator[Sums]:
    """The logit margin of each class in turn, (X, Y, Z), from the sums of all classes, (K, X, Y, Z).

    A class is present where its margin is at least 0. Of exclusive classes the margin is the logit less
    that of the strongest rival, so 0 is where a class becomes the likeliest; its softmax says nothing of
    that, since the likeliest of many classes may stay below one half.
    """
    if not exclusive:
        yield from sums
        return
    best, second = _two_largest(sums)
    for own in sums:
        ahead = own.astype(np.int32) - np.where(own < best, best, second)
        yield ahead.clip(-(1 << 15), (1 << 15) - 1).astype(np.int16)


def _two_largest(sums: Sums) -> tuple[Sums, Sums]:
    """The largest and second largest of the background's 0 and the sums (K, X, Y, Z)."""
    best = np.zeros_like(sums[0])
    second = np.full_like(best, -(1 << 15))
    for own in sums:
        second = np.maximum(second, np.minimum(best, own))
        best = np.maximum(best, own)
    return best, second


def pass_scales(weights: Sequence[float | Fraction], *, fine: bool = False) -> list[int]:
    """The level of probability 1 in each pass, in proportion to its weight; together they fill 16 bits.

    One pass alone has 8 bits, unless it is to be `fine`; the rounding of several adds up. Sums of fractions
    are exact, so the scale of a pass does not depend on its place.
    """
    exact = [Fraction(weight) for weight in weights]
    full, total = 255 if sum(map(bool, exact)) == 1 and not fine else 65535, sum(exact)
    return [int(full * weight / total) for weight in exact]


class ProbabilityMaps:
    """The probability of each class on the native grid, the weighted mean of several passes over the scan.

    `weights` has one number a pass; they need not add up to 1. `fine` keeps 16 bits of a single pass too.
    `gate` are the maps of a run that gates slices, if there is one. Planes are compressed. Classes fill
    little of a scan, so memory hardly grows with their number.
    """

    def __init__(
        self,
        grid: NetworkGrid,
        *,
        exclusive: bool,
        weights: Sequence[float | Fraction] = (1,),
        fine: bool = False,
    ) -> None:
        self.grid = grid
        self.exclusive = exclusive
        self.scales = pass_scales(weights, fine=fine)
        self.most = sum(self.scales)
        self._kind = np.uint8 if self.most == 255 else np.uint16
        self._planes: dict[tuple[int, int], bytes] = {}
        self._added = 0
        self.gate: ProbabilityMaps | None = None
        self._squares: dict[int, npt.NDArray[np.float64]] = {}

    @classmethod
    def weighted_mean(cls, maps: Sequence["ProbabilityMaps"], weights: Sequence[float]) -> "ProbabilityMaps":
        """The mean of maps of one scan by weights, as if all their passes had been added to one."""
        mean = cls(maps[0].grid, exclusive=maps[0].exclusive, weights=weights)
        whole = cast("Box", tuple(slice(0, n) for n in mean.grid.oriented_shape))
        for one, scale in zip(maps, mean.scales, strict=True):
            for number, z, plane in one.planes():
                levels = np.rint(plane * (scale / one.most)).astype(mean._kind)
                mean._add_to_plane(number, z, levels, whole)
            mean._added += 1
        return mean

    def add_pass(self, layers: Iterable[tuple[int, Sums]], grid: NetworkGrid, box: Box) -> None:
        """Add the next pass over a box of a network's grid, in layers as `accumulate_windows` yields them."""
        inverse = InverseResampling(grid, box)
        last: Sums | None = None
        finished = inverse.box[2].start
        native_plane = math.prod(grid.oriented_shape) // grid.shape[2]
        for begin, sums in _split_layers(layers, native_plane):
            first, planes = begin, sums
            if last is not None:
                first, planes = begin - 1, np.concatenate([last, sums], axis=3)
            native = slice(finished, inverse.finished_planes(begin + sums.shape[3]))
            if inverse.reaches_any and native.stop > native.start:
                self._add_native_planes(planes, first, inverse, native)
            finished = native.stop
            if not inverse.changes_nothing:  # else a plane depends on no other
                last = sums[..., -1:].copy()
        self._added += 1

    def _add_native_planes(self, sums: Sums, begin: int, inverse: InverseResampling, native: slice) -> None:
        """Add native planes, from the planes of the box that they depend on."""
        table = sigmoid_table(self.scales[self._added])
        rounded = np.rint(table).astype(self._kind)
        if inverse.changes_nothing:
            sums = inverse.to_native(sums, begin, native)
        for number, margin in enumerate(decision_margins(sums, exclusive=self.exclusive)):
            if inverse.changes_nothing:  # a table of rounded levels is as good as one of probabilities
                levels = rounded.take(margin.view(np.uint16), mode="clip")
            else:
                probability = table.take(margin.view(np.uint16), mode="clip")
                resampled = inverse.to_native(probability, begin, native)
                resampled += 0.5  # the nearest, once it is cut
                levels = resampled.astype(self._kind)
            for z, values in zip(range(native.start, native.stop), _planes_first(levels), strict=True):
                self._add_to_plane(number, z, values, inverse.box)

    def _add_to_plane(self, number: int, z: int, values: Levels, box: Box) -> None:
        """Add levels to a class's plane, within the sides of the box."""
        from isal import isal_zlib

        plane = self._stored_plane(number, z)
        if plane is None:
            plane = np.zeros(self.grid.oriented_shape[:2], self._kind)
        scale = self.scales[self._added]
        if len(self.scales) > 1 and scale:
            flat = values.astype(np.float32).ravel() / scale
            squares = self._squares.setdefault(number, np.zeros(len(self.scales)))
            squares[self._added] += float(flat @ flat)
        plane[box[0], box[1]] += values
        self._planes[number, z] = isal_zlib.compress(plane.data, 0)

    def class_probability(self, number: int) -> Bytes:
        """A class's probability in 255ths, native (X, Y, Z), in Fortran order as NIfTI stores voxels."""
        native = np.zeros(self.grid.native_shape, np.uint8, order="F")
        oriented = self.grid.orient(native)
        for z in range(oriented.shape[2]):
            plane = self._stored_plane(number, z)
            if plane is not None:
                oriented[:, :, z] = plane if self.most == 255 else np.rint(plane * (255 / self.most))
        return native

    def dice_between_passes(self, number: int, squares: float) -> float | None:
        """The soft Dice between two passes, over all pairs; None of a single pass, or of no probability.

        Of probabilities p and q it is 2 sum(pq) / (sum(p²) + sum(q²)), to which each pass's sum of p² is
        enough beside the mean; a pair counts by the product of its weights. `squares` is the sum of squares
        of the mean.
        """
        own = self._squares.get(number)
        shares = np.array(self.scales) / self.most
        both = 0.0 if own is None else float((shares * (1 - shares)) @ own)
        return min(1.0, (squares - float(shares**2 @ own)) / both) if own is not None and both else None

    def planes(self) -> Iterator[tuple[int, int, Levels]]:
        """Each plane that anything was added to: its class, its place and its levels (X, Y), up to `most`."""
        for number, z in self._planes:
            plane = self._stored_plane(number, z)
            if plane is not None:
                yield number, z, plane

    def _stored_plane(self, number: int, z: int) -> Levels | None:
        from isal import isal_zlib

        packed = self._planes.get((number, z))
        if packed is None:
            return None
        levels: Levels = np.frombuffer(bytearray(isal_zlib.decompress(packed)), self._kind)
        return levels.reshape(self.grid.oriented_shape[:2])


def _split_layers(layers: Iterable[tuple[int, Sums]], native: int) -> Iterator[tuple[int, Sums]]:
    """The same planes, few at a time; each becomes `native` voxels of the native grid."""
    for begin, sums in layers:
        planes = max(1, AT_ONCE // max(native, sums.shape[1] * sums.shape[2]))
        for first in range(0, sums.shape[3], planes):
            yield begin + first, sums[..., first : first + planes]


def _planes_first(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """A contiguous (X, Y, Z) as a contiguous (Z, X, Y), by the transposition of one matrix."""
    x, y, z = values.shape
    return values.reshape(x * y, z).T.copy().reshape(z, x, y)
