"""Shape-based interpolation: slices between drawn ones, by the distances to their outlines.

Raya and Udupa 1990: a slice between two is where the mean of their signed distances, weighted by how near
each is, lies inside.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from volseg.arrays import bounding_box
from volseg.data.mask_files import Mask

Floats = npt.NDArray[np.float64]


def fill_between(
    mask: Mask, spacing_mm: tuple[float, float, float], *, axis: int, first: int = 0, last: int | None = None
) -> Mask:
    """A mask (X, Y, Z) whose empty slices between two drawn ones are filled; drawn slices stay as they are.

    Slices lie across `axis`; only those from `first` to `last` are filled.
    """
    filled = mask.copy(order="K")
    slices = np.moveaxis(filled, axis, 0)
    width_mm, height_mm = (mm for other, mm in enumerate(spacing_mm) if other != axis)
    drawn = np.flatnonzero(slices.any(axis=(1, 2)))
    end = len(slices) - 1 if last is None else last
    for below, above in pairwise(drawn.tolist()):
        wanted = [number for number in range(below + 1, above) if first <= number <= end]
        if wanted:
            shares = [(number - below) / (above - below) for number in wanted]
            between = interpolated_shapes(slices[below], slices[above], (width_mm, height_mm), shares)
            slices[wanted] = between
    return filled


def interpolated_shapes(one: Mask, other: Mask, spacing_mm: tuple[float, float], shares: list[float]) -> Mask:
    """The shapes at these shares of the way from one to the other: masks (X, Y) in, (N, X, Y) out.

    Shapes that do not overlap are moved onto the line between their centres first, as else there would be
    nothing between them.
    """
    box = _box(one | other)
    results = np.zeros((len(shares), *one.shape), bool)
    one, other = one[box], other[box]
    centres = [np.argwhere(shape).mean(axis=0) for shape in (one, other)]
    way = np.zeros(2) if (one & other).any() else centres[1] - centres[0]
    distances = [_signed_distances(shape, spacing_mm) for shape in (one, other)]
    for number, share in enumerate(shares):
        steps = np.rint(way * share).astype(int), np.rint(-way * (1 - share)).astype(int)
        here, there = (_moved(part, step) for part, step in zip(distances, steps, strict=True))
        results[number][box] = (1 - share) * here + share * there > 0
    return results


def _box(shape: Mask) -> tuple[slice, slice]:
    """The smallest box around a shape (X, Y): beyond it is nothing of either, nor between them."""
    x, y, _ = bounding_box(shape[..., None])
    return x, y


def _signed_distances(shape: Mask, spacing_mm: tuple[float, float]) -> Floats:
    """The distance in mm to the nearest pixel of the other kind, above 0 inside; around the slice is air."""
    from scipy.ndimage import distance_transform_edt

    framed = np.pad(shape, 1)
    inside = distance_transform_edt(framed, sampling=spacing_mm)
    outside = distance_transform_edt(~framed, sampling=spacing_mm)
    signed: Floats = (inside - outside)[1:-1, 1:-1]
    return signed


def _moved(distances: Floats, step: npt.NDArray[np.int_]) -> Floats:
    """The same distances some pixels on; what comes in from beyond the slice is far outside."""
    moved = np.full_like(distances, -np.inf)
    width, height = distances.shape
    x, y = int(step[0]), int(step[1])
    to = slice(max(x, 0), min(width + x, width)), slice(max(y, 0), min(height + y, height))
    source = slice(max(-x, 0), min(width - x, width)), slice(max(-y, 0), min(height - y, height))
    moved[to] = distances[source]
    return moved
