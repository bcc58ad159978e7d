"""The surface of a mask as DeepMind's surface-distance defines it: small elements and their areas.

Voxel centres are the corners of cells of 2x2x2. A cell whose corners are not all alike holds one
element of the surface; its area follows from which of the 8 corners are set, the cell's code.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]
CORNERS = np.array(list(product((0, 1), repeat=3)))  # corner c has the bit 128 >> c of a code
CENTRE = np.full(3, 0.5)
DIAGONALS = np.array([(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)])


def surface_voxels(mask: npt.NDArray[np.bool_], axes: Sequence[int] = (0, 1, 2)) -> npt.NDArray[np.bool_]:
    """The voxels of a bool (X, Y, Z) mask with a face across one of these axes towards the outside."""
    inner = mask.copy()
    for axis in axes:
        eroded, source = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        eroded[1:] &= source[:-1]
        eroded[:-1] &= source[1:]
        eroded[[0, -1]] = False  # around the mask is outside
    return mask & ~inner


def cell_codes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The code of each cell of a bool (X, Y, Z) mask in empty surroundings: (X + 1, Y + 1, Z + 1)."""
    codes = np.pad(mask, 1).view(np.uint8)
    for axis, bits in ((2, 1), (1, 2), (0, 4)):
        low, high = (np.moveaxis(codes, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        codes = np.moveaxis(low << np.uint8(bits) | high, 0, axis)
    return codes


@lru_cache(maxsize=64)
def element_areas(spacing_mm: Spacing) -> Floats:
    """The area of the surface in a cell, in mm², by the cell's code (256,).

    The surface is that of marching cubes through the middles of the cell's edges, where the corners in
    the minority (set or not, at most four) are cut off group by group; groups are joined by edges.
    """
    x, y, z = spacing_mm
    scale = np.array([y * z, x * z, x * y])
    return np.array([np.linalg.norm(facets * scale, axis=1).sum() for facets in _cell_facets()])


@lru_cache(maxsize=1)
def _cell_facets() -> tuple[Floats, ...]:
    """The area vectors of the surface's facets in a unit cell (F, 3), by the cell's code."""
    codes = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(bool)
    few = np.where(codes.sum(axis=1, keepdims=True) <= 4, codes, ~codes)
    return tuple(
        np.array(
            [
                _area_vector(polygon)
                for group in _corner_groups(bits)
                for polygon in _plane_polygons(_group_outline(group))
            ]
        ).reshape(-1, 3)
        for bits in few
    )


def _corner_groups(bits: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.bool_]]:
    """The groups of set corners that edges connect, each (8,)."""
    rest = set(np.flatnonzero(bits).tolist())
    while rest:
        group, new = set[int](), {rest.pop()}
        while new:
            group |= new
            new = {corner ^ edge for corner in new for edge in (1, 2, 4)} & rest
            rest -= new
        yield np.isin(np.arange(8), list(group))


def _group_outline(group: npt.NDArray[np.bool_]) -> Floats:
    """The middles of the edges that leave a group, in the order of the surface's outline (N, 3).

    Neighbours in the outline are the two middles on one side of the cell; a group of at most four
    corners has never more than two there.
    """
    inside, outside = CORNERS[group], CORNERS[~group]
    rest = [(a + b) / 2 for a in inside for b in outside if abs(a - b).sum() == 1]
    loop = [rest.pop()]
    while rest:
        on_a_side = [bool(((loop[-1] == at) & (at != 0.5)).any()) for at in rest]
        loop.append(rest.pop(on_a_side.index(True)))
    return np.array(loop)


def _plane_polygons(loop: Floats) -> list[Floats]:
    """An outline as plane polygons: one in a plane through the cell's centre, and triangles beside it.

    Outlines of three or four points are plane. Of five or six, at least four lie in a plane through the
    centre and across a diagonal of the cell; the others are cut off as triangles.
    """
    if len(loop) <= 4:
        return [loop]
    in_plane = max((np.isclose((loop - CENTRE) @ DIAGONALS.T, 0)).T, key=np.sum)
    triangles = np.stack([np.roll(loop, 1, axis=0), loop, np.roll(loop, -1, axis=0)], axis=1)
    return [loop[in_plane], *triangles[~in_plane]]


def _area_vector(polygon: Floats) -> Floats:
    """The area vector (3,) of a plane polygon: its normal, whose length is the area."""
    spokes = polygon - polygon[0]
    return np.asarray(np.cross(spokes[:-1], spokes[1:]).sum(axis=0) / 2)
