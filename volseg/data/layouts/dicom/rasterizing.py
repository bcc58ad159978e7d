"""Contours as masks: a voxel is in where its centre lies in an odd number of the contours of its slice."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from volseg.data.volume import Array

PLACES = 6  # decimals of a voxel to which points are rounded, so that reckoning moves none off a centre


def fill_contours(contours: Sequence[Array], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask (rows, columns) of closed contours, each of points (N, 2): column, row; 0 is a voxel's centre.

    Even-odd over all contours together: what lies in two of them is out, whichever way they run. A centre
    on an edge is in where the inside follows to its right or below it: so of two areas that share an edge
    one has it, never both. What lies beyond the mask is cut off.
    """
    rows, columns = shape
    starts, ends = _edges(contours)
    upper, lower = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    first = np.clip(np.ceil(upper), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(lower), 0, rows).astype(np.int64)
    edge, row = _ranges(first, last)
    along = (row - starts[edge, 1]) / (ends[edge, 1] - starts[edge, 1])
    crossing = starts[edge, 0] + along * (ends[edge, 0] - starts[edge, 0])
    column = np.clip(np.ceil(np.round(crossing, PLACES + 3)), 0, columns).astype(np.int64)
    crossings = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    inside: npt.NDArray[np.bool_] = (
        np.cumsum(crossings.reshape(rows, columns + 1)[:, :columns], axis=1) % 2 == 1
    )
    return inside


def _edges(contours: Sequence[Array]) -> tuple[Array, Array]:
    """The two ends (N, 2) of all edges that are not horizontal; the last point is joined to the first."""
    points = [np.round(contour, PLACES) for contour in contours]
    starts = np.concatenate([*points, np.empty((0, 2))])
    ends = np.concatenate([*(np.roll(contour, -1, axis=0) for contour in points), np.empty((0, 2))])
    slanted = starts[:, 1] != ends[:, 1]
    return starts[slanted], ends[slanted]


def _ranges(first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Every whole number from each first one up to each last one, that left out, and which range it is of."""
    lengths = last - first
    edge = np.repeat(np.arange(len(first)), lengths)
    begun = np.cumsum(lengths) - lengths
    return edge, np.arange(int(lengths.sum())) - begun[edge] + first[edge]
