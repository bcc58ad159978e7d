"""Sliding-window inference: weighted windows are summed in 16 bits, layer by layer, on the network's device.

Logits are summed as whole numbers of 1/STEPS, or of less where very many windows overlap, so a result
depends neither on the order of the windows nor on how many are computed at a time. Engines weight the logits
(`weighted_logits` is the reference). The arrays are numpy's or torch's on a device: both are sliced and added
up alike.
"""

import math
from collections import deque
from collections.abc import Iterator
from itertools import product

import numpy as np

from volseg.arrays import Box
from volseg.data.preprocessing.grid import NetworkInput
from volseg.inference.tiling import Tiling, outer_product
from volseg.model.engines.interface import (
    STEPS,
    Array,
    Arrays,
    Floats,
    Layer,
    Sums,
    WeightedWindow,
    WindowNetwork,
    check_finite,
)
from volseg.system.timing import StepTimer

BITS = 7
"""Binary digits of a step in wide sums."""


def accumulate_windows(
    view: NetworkInput, tiling: Tiling, network: WindowNetwork, spent: StepTimer
) -> Iterator[tuple[int, Sums]]:
    """The layers of the box towards the feet, each as soon as its windows are done.

    Yields the number of the layer's first plane within the box and the sums of logits (K, X, Y, planes),
    which are valid until the next layer.

    Raises:
        UserError: voxels or the network's output are no finite numbers.
    """
    summed = spent.time_items("blend", _sum_windows(view, tiling, network, spent))
    for first, sums, total in spent.time_items("network", network.arrays.download(summed)):
        check_finite(float(total), network)
        yield first, sums.astype(np.int16, copy=False)


def _sum_windows(
    view: NetworkInput, tiling: Tiling, network: WindowNetwork, spent: StepTimer
) -> Iterator[Layer]:
    """The layers as arrays of the network, which change once the next one is asked for."""
    x, y, z = tiling.axis_tilings
    across = [
        slice(inside.start - side.full_range.start, inside.stop - side.full_range.start)
        for inside, side in zip(tiling.box, (x, y, z), strict=True)
    ][:2]
    inner_z = tiling.box[2]
    scale = _WindowScale(network.arrays, wide=tiling.wide)
    windows = spent.time_items("normalise", _weighted_windows(view, tiling, network.arrays, scale))
    parts = spent.time_items("network", network.parts(windows))
    sums: Array = None
    total: Array = 0.0
    for k, start in enumerate(z.starts):
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            part = next(parts)
            if sums is None:
                empty = np.zeros((len(part.steps), *tiling.layer_shape), scale.kind)
                sums = network.arrays.upload(empty)
            covered = sums[:, x.window_slice(i), y.window_slice(j)]
            covered += scale.align_part(part.steps)
            total = total + part.total
        first = max(start, inner_z.start)
        stop = z.starts[k + 1] if k + 1 < len(z.starts) else inner_z.stop
        if stop > first:  # else the layer only shows slices beyond the box to those within
            finished = sums[:, across[0], across[1], first - start : stop - start]
            yield Layer(first - inner_z.start, scale.round_sums(finished), total)
        if k + 1 < len(z.starts):
            _move_planes(sums, stop - start)


def _move_planes(sums: Array, planes: int) -> None:
    """Move sums (K, X, Y, Z) some planes towards the head, and make room for new ones."""
    last = sums.shape[3] - planes
    for first in range(0, last, planes):  # without overlaps, which torch does not allow
        stop = min(first + planes, last)
        sums[..., first:stop] = sums[..., first + planes : stop + planes]
    sums[..., last:] = 0


class _WindowScale:
    """The powers of two by which windows of little weight are enlarged, so that engines round less away.

    Sums of enlarged parts are 32 bits wide and count in 2**-BITS of a step. Where nothing is enlarged, parts
    and sums stay as they are.
    """

    def __init__(self, arrays: Arrays, *, wide: bool) -> None:
        self._wide = wide
        self._shifts = deque[int]()
        self._factors = arrays.upload(1 << np.arange(BITS + 1, dtype=np.int32))
        self.kind = np.int32 if wide else np.int16

    def enlarge_weights(self, weights: Iterator[tuple[Array, float]]) -> Iterator[Array]:
        for weight, largest in weights:
            if not self._wide:
                yield weight
                continue
            shift = min(BITS, math.floor(math.log2(STEPS / largest)))
            self._shifts.append(shift)
            yield weight * (1 << shift)

    def align_part(self, part: Array) -> Array:
        if not self._wide:
            return part
        shift = BITS - self._shifts.popleft()
        return part * self._factors[shift : shift + 1]  # an array, which makes the product as wide

    def round_sums(self, sums: Array) -> Array:
        return (sums + (1 << BITS - 1)) >> BITS if self._wide else sums


def _weighted_windows(
    view: NetworkInput, tiling: Tiling, arrays: Arrays, scale: _WindowScale
) -> Iterator[WeightedWindow]:
    """The image and weights of each window, in the order in which `accumulate_windows` adds them."""
    x, y, z = tiling.axis_tilings
    weights = scale.enlarge_weights((_even_weights if tiling.even else _monai_weights)(tiling, arrays))
    for start in z.starts:
        inside_layer = (x.full_range, y.full_range, slice(start, start + z.window))
        box = padded_box(view, inside_layer, clamp_z=tiling.reach > 0)
        layer = arrays.upload(box)
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            yield WeightedWindow(layer[:, x.window_slice(i), y.window_slice(j)], next(weights))


def _even_weights(tiling: Tiling, arrays: Arrays) -> Iterator[tuple[Array, float]]:
    """The weights (X, Y, Z) of each window, and the largest of them, by the rows of its axes."""
    x, y, z = (side.weights for side in tiling.axis_tilings)
    rows = x * np.float32(STEPS), y, z
    x, y, z = map(arrays.upload, rows)
    largest = [side.max(axis=1) for side in rows]
    for k, i, j in product(range(len(z)), range(len(x)), range(len(y))):
        yield outer_product(x[i], y[j], z[k]), float(largest[0][i] * largest[1][j] * largest[2][k])


def _monai_weights(tiling: Tiling, arrays: Arrays) -> Iterator[tuple[Array, float]]:
    """The weights (X, Y, Z) of each window with MONAI, and the largest of them if sums are wide."""
    x, y, z = tiling.axis_tilings
    gaussian = arrays.upload(tiling.gaussian_weights)
    for k in range(len(z.starts)):
        shares = tiling.gaussian_shares(k)
        layer = arrays.upload(shares)
        for i, j in product(range(len(x.starts)), range(len(y.starts))):
            inside = x.window_slice(i), y.window_slice(j)
            # by numpy, lest a device is waited for
            largest = float((tiling.gaussian_weights * shares[inside]).max()) if tiling.wide else math.inf
            yield gaussian * layer[inside], largest


def padded_box(view: NetworkInput, box: Box, *, clamp_z: bool = False) -> Floats:
    """The voxels (C, X, Y, Z) in a box of the scan, zeros where the box reaches beyond the scan.

    With `clamp_z` slices beyond the scan are its first or last one.
    """
    ends = list(zip(box, view.grid.shape, strict=True))
    x, y, z = (slice(max(0, side.start), min(n, side.stop)) for side, n in ends)
    part = view.read_box((x, y, z))
    padding = [(max(0, -side.start), max(0, side.stop - n)) for side, n in ends]
    if not np.any(padding):
        return part
    if clamp_z:
        part, padding = np.pad(part, [(0, 0)] * 3 + padding[2:], "edge"), [*padding[:2], (0, 0)]
    return np.pad(part, [(0, 0), *padding])
