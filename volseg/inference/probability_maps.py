"""What sums of logits say: for each class a probability in 8 bits on the native grid, kept compressed.

Overlapping classes are judged each by itself, by a sigmoid. Exclusive ones share a softmax with the
background, whose logit is always 0 (`volseg.model.logits`).
"""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from volseg.arrays import Box
from volseg.data.preprocessing.grid import InverseResampling, NetworkGrid
from volseg.model.engines.interface import STEPS, Sums

Bytes = npt.NDArray[np.uint8]
Kept = npt.NDArray[np.uint8 | np.uint16]
Number = TypeVar("Number", bound=np.generic)
AT_ONCE = 1 << 21
"""Voxels that are brought back together, or one plane: what that takes does not grow with the scan."""


@lru_cache(maxsize=8)
def sigmoid_table(scale: int) -> npt.NDArray[np.float32]:
    """`scale` times the sigmoid of every sum, to be taken by the sum's bits as an unsigned number."""
    sums = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    return (scale / (1 + np.exp(-sums.astype(np.float64) / STEPS))).astype(np.float32)


def decision_margins(sums: Sums, *, exclusive: bool) -> Iterator[Sums]:
    """What speaks for each class in turn, (X, Y, Z), from the sums of all, (K, X, Y, Z).

    At least 0 says that a class is there. Of exclusive classes it is the class's logit less that of its
    strongest rival, so 0 is where it becomes the likeliest; a softmax has no such place, since the
    likeliest of many may stay below one half.
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


class ProbabilityMaps:
    """The probability of each class on the native grid: the mean of so many passes over the scan.

    Planes are kept compressed. Organs fill little of a scan, so memory hardly grows with the classes.
    """

    def __init__(self, grid: NetworkGrid, *, exclusive: bool, passes: int = 1) -> None:
        self.grid = grid
        self.exclusive = exclusive
        self.scale = 255 if passes == 1 else 65535 // passes
        """What certainty adds in one pass: more than 255, lest rounding each pass add up."""
        self.most = self.scale * passes
        self._kind = np.uint8 if passes == 1 else np.uint16
        self._rounded = np.rint(sigmoid_table(self.scale)).astype(self._kind)
        self._planes: dict[tuple[int, int], bytes] = {}
        self._passes = passes
        self._squares: dict[int, float] = {}

    def add_pass(self, layers: Iterable[tuple[int, Sums]], grid: NetworkGrid, box: Box) -> None:
        """Add a pass over a box of a network's grid over the same volume, as `blended` yields it."""
        back = InverseResampling(grid, box)
        carried: Sums | None = None
        done = back.box[2].start
        native_plane = math.prod(grid.oriented_shape) // grid.shape[2]
        for begun, sums in _split_layers(layers, native_plane):
            first, planes = begun, sums
            if carried is not None:
                first, planes = begun - 1, np.concatenate([carried, sums], axis=3)
            native = slice(done, back.finished_planes(begun + sums.shape[3]))
            if back.reaches_any and native.stop > native.start:
                self._add_native_planes(planes, first, back, native)
            done = native.stop
            if not back.changes_nothing:  # else a plane depends on no other
                carried = sums[..., -1:].copy()

    def _add_native_planes(self, sums: Sums, begun: int, back: InverseResampling, native: slice) -> None:
        """Add native planes, from the planes of the box that they depend on."""
        if back.changes_nothing:
            sums = back.to_native(sums, begun, native)
        for number, margin in enumerate(decision_margins(sums, exclusive=self.exclusive)):
            if back.changes_nothing:  # a table of what is kept is as good as one of probabilities
                planes = _planes_first(self._rounded.take(margin.view(np.uint16), mode="clip"))
            else:
                there = sigmoid_table(self.scale).take(margin.view(np.uint16), mode="clip")
                found = back.to_native(there, begun, native)
                found += 0.5  # the nearest, once it is cut
                planes = _planes_first(found.astype(self._kind))
            for z, values in zip(range(native.start, native.stop), planes, strict=True):
                self._add_to_plane(number, z, values, back.box)

    def _add_to_plane(self, number: int, z: int, values: Kept, box: Box) -> None:
        """Add to a class's plane, within the box's sides."""
        plane = self._stored_plane(number, z)
        if plane is None:
            plane = np.zeros(self.grid.oriented_shape[:2], self._kind)
        if self._passes > 1:
            flat = values.astype(np.float32).ravel() / self.scale
            self._squares[number] = self._squares.get(number, 0.0) + float(flat @ flat)
        plane[box[0], box[1]] += values
        self._planes[number, z] = _compress_plane(plane)

    def class_probability(self, number: int) -> Bytes:
        """A class's probability in 255ths, native (X, Y, Z), in the order in which NIfTI keeps voxels."""
        native = np.zeros(self.grid.native_shape, np.uint8, order="F")
        oriented = self.grid.orient(native)
        for z in range(oriented.shape[2]):
            plane = self._stored_plane(number, z)
            if plane is not None:
                oriented[:, :, z] = plane if self.most == 255 else np.rint(plane * (255 / self.most))
        return native

    def dice_between_passes(self, number: int, squares: float) -> float | None:
        """The Dice between two of the passes, over all pairs; None of a single pass, or of nothing.

        Of probabilities p and q it is 2 sum(pq) / (sum(p²) + sum(q²)), which needs no more memory:
        beside what is kept, only the sum over voxels of each pass's p². `squares` is that of the mean.
        """
        each = self._squares.get(number, 0.0)
        if not each:
            return None
        return min(1.0, (self._passes**2 * squares - each) / ((self._passes - 1) * each))

    def _stored_plane(self, number: int, z: int) -> Kept | None:
        packed = self._planes.get((number, z))
        if packed is None:
            return None
        return _decompress_plane(packed, self._kind).reshape(self.grid.oriented_shape[:2])


def _split_layers(layers: Iterable[tuple[int, Sums]], native: int) -> Iterator[tuple[int, Sums]]:
    """The same planes, few at a time, where each becomes so many native voxels."""
    for begun, sums in layers:
        planes = max(1, AT_ONCE // max(native, sums.shape[1] * sums.shape[2]))
        for first in range(0, sums.shape[3], planes):
            yield begun + first, sums[..., first : first + planes]


def _planes_first(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """(X, Y, Z), in one piece, as (Z, X, Y), each plane in one piece: as one matrix that is turned."""
    x, y, z = values.shape
    return values.reshape(x * y, z).T.copy().reshape(z, x, y)


def _compress_plane(plane: Kept) -> bytes:
    from isal import isal_zlib

    return isal_zlib.compress(plane.data, 0)


def _decompress_plane(packed: bytes, kind: type[np.generic]) -> Kept:
    from isal import isal_zlib

    return np.frombuffer(bytearray(isal_zlib.decompress(packed)), kind)
