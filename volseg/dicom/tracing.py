"""Masks of a slice as closed contours on voxel edges, from which any reader gets the same mask again.

A contour runs on the lattice between voxels, so no voxel's centre lies on it. Voxels that touch by a corner
only are apart; a hole is joined to what encloses it by a keyhole without width that runs on the lattice too.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from volseg.data.volume import Array

Lattice = npt.NDArray[np.int64]
Point = tuple[int, int]
EDGE = 0.5  # from the centre of the first voxel back to its edge, where the lattice begins
PAD = 1  # a voxel of nothing around the mask, so that its border is a boundary like any other


class _Corners(NamedTuple):
    """The corners (N,) of all boundaries, each in one boundary only; where two touch there are two.

    `along` and `down` name the corner at the other end of the horizontal and of the vertical edge.
    """

    rows: list[int]
    columns: list[int]
    along: list[int]
    down: list[int]
    by_row: Lattice  # the corners in order of rows, then columns: pairs of them are horizontal edges
    row_keys: Lattice  # of those, ascending


class _Boundary(NamedTuple):
    """One closed boundary: its corners from the topmost, leftmost one on, and whether it is a hole's."""

    corners: list[int]
    is_hole: bool


def trace_contours(mask: Array) -> list[npt.NDArray[np.float64]]:
    """The contours of a mask (rows, columns), one an island with its holes: points (N, 2) of column and row.

    0 is the centre of the first voxel. The first point is not repeated; points in the midst of a straight
    line are left out, but for those where a keyhole begins.
    """
    filled = np.argwhere(mask)
    if not filled.size:
        return []
    (top, left), (bottom, right) = filled.min(axis=0), filled.max(axis=0) + 1
    padded = np.pad(np.asarray(mask[top:bottom, left:right], dtype=bool), PAD)
    corners = _find_corners(padded)
    rings = _joined_rings(padded, corners, list(_walk_boundaries(padded, corners)))
    shift = np.array([left - EDGE, top - EDGE])
    return [np.asarray(ring, dtype=np.float64) + shift for ring in rings]


def _find_corners(padded: Array) -> _Corners:
    """The corners of the boundaries in a padded mask, joined by the edges between them.

    Along a line of the lattice the corners are the ends of edges by turns, so neighbours in order are pairs.
    At a diagonal touch there are two corners: `side` says which of them comes first along its row and down
    its column.
    """
    upper, lower = padded[:-1], padded[1:]
    code = upper[:, :-1] + 2 * upper[:, 1:] + 4 * lower[:, :-1] + 8 * lower[:, 1:].astype(np.uint8)
    rows, columns = np.nonzero(_IS_CORNER[code])
    codes = code[rows, columns]
    touches = np.flatnonzero((codes == UPPER_LEFT_AND_LOWER_RIGHT) | (codes == UPPER_RIGHT_AND_LOWER_LEFT))
    first_right = codes[touches] == UPPER_RIGHT_AND_LOWER_LEFT  # of the corner of the upper voxel
    width, height = padded.shape[1], padded.shape[0]
    row_side, column_side = np.zeros((2, len(rows)), dtype=np.int64)
    row_side[touches] = first_right
    all_rows = np.concatenate([rows, rows[touches]])
    all_columns = np.concatenate([columns, columns[touches]])
    row_side = np.concatenate([row_side, ~first_right])
    column_side = np.concatenate([column_side, np.ones_like(touches)])
    row_keys = (all_rows * width + all_columns) * 2 + row_side
    column_keys = (all_columns * height + all_rows) * 2 + column_side
    by_row = np.argsort(row_keys, kind="stable")
    along, down = _pair_neighbours(by_row), _pair_neighbours(np.argsort(column_keys, kind="stable"))
    return _Corners(
        all_rows.tolist(), all_columns.tolist(), along.tolist(), down.tolist(), by_row, row_keys[by_row]
    )


UPPER_LEFT_AND_LOWER_RIGHT, UPPER_RIGHT_AND_LOWER_LEFT = 9, 6
_IS_CORNER = np.array([bin(code).count("1") in (1, 3) or code in (6, 9) for code in range(16)])
"""By the voxels around a point of the lattice: upper left 1, upper right 2, lower left 4, lower right 8."""


def _pair_neighbours(order: Lattice) -> Lattice:
    """For each corner the other one of its pair, where the first and second in order are one, and so on."""
    partner = np.empty_like(order)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return partner


def _walk_boundaries(padded: Array, corners: _Corners) -> Iterator[_Boundary]:
    """All boundaries, from top to bottom; islands run clockwise and holes the other way."""
    seen = bytearray(len(corners.rows))
    for start in corners.by_row.tolist():
        if seen[start]:
            continue
        row, column = corners.rows[start], corners.columns[start]
        is_hole = not padded[row + 1, column + 1]
        first, second = (corners.down, corners.along) if is_hole else (corners.along, corners.down)
        walk: list[int] = []
        here = start
        while True:
            between = first[here]
            walk += (here, between)
            seen[here] = seen[between] = True
            here = second[between]
            if here == start:
                break
        yield _Boundary(walk, is_hole)


def _joined_rings(padded: Array, corners: _Corners, boundaries: list[_Boundary]) -> list[list[Point]]:
    """A ring of points (column, row) for each island, into which its holes are spliced.

    The keyhole of a hole runs up from its topmost corner to the first boundary above it, which is its
    island's or a hole's that begins higher: so the lowest holes are joined first.

    The edge from a ring's last point to its first one runs along a row: plastimatch forgets it in slices that
    are not axial, and an edge along a row changes nothing there.
    """
    splices: dict[int, list[tuple[int, list[Point]]]] = defaultdict(list)
    islands = []
    for boundary in reversed(boundaries):
        ring = _spliced_ring(boundary, corners, splices)
        if not boundary.is_hole:
            islands.append([ring[-1], *ring[:-1]])  # so that it closes along a row
            continue
        start = boundary.corners[0]
        row, column = corners.rows[start], corners.columns[start]
        above = padded[: row + 1, column] & padded[: row + 1, column + 1]
        met = row - int(np.argmin(above[::-1]))
        splices[_edge_at(corners, met, column, padded.shape[1])].append((column, [*ring, ring[0]]))
    return islands[::-1]


def _edge_at(corners: _Corners, row: int, column: int, width: int) -> int:
    """The horizontal edge at a point of the lattice, by its left corner."""
    place = int(np.searchsorted(corners.row_keys, (row * width + column) * 2, side="right")) - 1
    return int(corners.by_row[place - place % 2])


def _spliced_ring(
    boundary: _Boundary, corners: _Corners, splices: dict[int, list[tuple[int, list[Point]]]]
) -> list[Point]:
    """The points of a boundary with the rings that keyholes join to its horizontal edges.

    Keyholes come from below, where the mask is; edges above it run to the right.
    """
    ring: list[Point] = []
    walk = boundary.corners
    for here, after in zip(walk, [*walk[1:], walk[0]], strict=True):
        row, column = corners.rows[here], corners.columns[here]
        ring.append((column, row))
        for at, inner in sorted(splices.pop(here, ())):
            if ring[-1] != (at, row):
                ring.append((at, row))
            ring += inner
            if at != corners.columns[after]:
                ring.append((at, row))
    return ring
