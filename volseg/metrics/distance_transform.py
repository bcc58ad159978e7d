"""Exact distances from voxels to the nearest voxel of a mask, in numpy alone.

A box consists of columns along X. Two sweeps give each voxel's steps along its own column to the mask;
the nearest voxel of the mask is as far along that column or along another. Near columns are searched in
order, until the next is farther away than the nearest voxel so far; the voxels that are still open then
search all columns, those of one plane (Y, Z) together.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Spacing = tuple[float, float, float]
MARGIN = 5  # near columns: so many to each side
COARSE = 3  # in a plane, every third line both ways mostly tells enough
SAMPLE = 32  # places whose farthest is a lower bound of the longest distance
INNER = (slice(None), slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))


@dataclass(frozen=True, eq=False)
class DistanceTransform:
    """Distances to a mask, bool (X, Y, Z), with the arrays that all of them share computed once.

    Places are indices of voxels in C order, ascending. Distances have the unit of the spacing.
    """

    mask: Mask

    def __post_init__(self) -> None:
        """Refuse an empty mask.

        Raises:
            ValueError: the mask is empty.
        """
        if not self.mask.any():
            raise ValueError("there is no distance to an empty mask")

    def distances_from(
        self, places: Places, spacing: Spacing, *, enough: float = 0, most: float = np.inf
    ) -> Floats:
        """The distance from each place to the nearest voxel of the mask (N,).

        Distances up to `enough` and those from `most` on may be too long, but stay on their side of
        these limits: to leave them open is faster.
        """
        squares = self._by_near_columns(places, spacing, enough**2, most**2)
        reach = _near_radius(spacing)
        if reach < most:
            far = squares > max(reach, enough) ** 2
            squares[far] = self._by_all_columns(places[far], spacing, enough**2)
        return np.sqrt(squares)

    def max_distance(self, places: Places, spacing: Spacing) -> float:
        """The longest distance from any of the places; 0 for none."""
        sample = places[:: len(places) // SAMPLE + 1]
        enough = self.distances_from(sample, spacing).max(initial=0)
        return float(self.distances_from(places, spacing, enough=enough).max(initial=0))

    @cached_property
    def _column_steps(self) -> npt.NDArray[np.unsignedinteger]:
        """Steps along X to the mask, X or more for none: (X, Y, Z) with a margin in Y and Z."""
        length, width, depth = self.mask.shape
        kind = np.min_scalar_type(2 * length)
        steps = np.full((length, width + 2 * MARGIN, depth + 2 * MARGIN), length, kind)
        steps[INNER] -= self.mask * kind.type(length)
        more = np.empty_like(steps[0])
        for planes in (steps, steps[::-1]):
            for before, here in pairwise(planes):
                np.minimum(here, np.add(before, 1, out=more), out=here)
        return steps

    def _squared_lengths(self, side: float) -> Floats:
        """The square of the way along a column, by its number of steps."""
        length = self.mask.shape[0]
        squares = np.full(2 * length + 1, np.inf)
        squares[:length] = (np.arange(length) * side) ** 2
        return squares

    def _by_near_columns(self, places: Places, spacing: Spacing, enough: float, most: float) -> Floats:
        """Squares of the distances; too long where the nearest voxel is out of reach."""
        by_steps, steps = self._squared_lengths(spacing[0]), self._column_steps.ravel()
        x, y, z = np.unravel_index(places, self.mask.shape)
        here = np.ravel_multi_index((x, y + MARGIN, z + MARGIN), self._column_steps.shape)
        best = by_steps.take(steps.take(here))
        squares, rest = best.copy(), np.arange(len(places))
        for away, offsets in _column_rings(spacing, self._column_steps.shape[2]):
            if away >= most:
                break
            open_ = best > max(away, enough)
            if not open_.all():
                squares[rest] = best
                rest, here, best = rest[open_], here[open_], best[open_]
            for offset in offsets:
                np.minimum(best, by_steps.take(steps.take(here + offset)) + away, out=best)
        squares[rest] = best
        return squares

    def _by_all_columns(self, places: Places, spacing: Spacing, enough: float) -> Floats:
        """Squares of the distances; those up to `enough` may be too long."""
        x, y, z = np.unravel_index(places, self.mask.shape)
        by_steps, steps = self._squared_lengths(spacing[0]), self._column_steps[INNER]
        planes, first = np.unique(x, return_index=True)
        squares = np.empty(len(places))
        for number, (begin, end) in zip(planes, pairwise([*first, len(x)]), strict=True):
            plane, rest = by_steps.take(steps[number].T), np.arange(begin, end)
            for stride in (COARSE, 1) if enough else (1,):
                squares[rest] = _lowest_sums(plane, y[rest], z[rest], spacing, stride)
                rest = rest[squares[rest] > enough]
        return squares


def _near_radius(spacing: Spacing) -> float:
    """The distance to the nearest column that is none of the near ones, at least."""
    return (MARGIN + 1) * min(spacing[1:])


@lru_cache(maxsize=64)
def _column_rings(spacing: Spacing, depth: int) -> tuple[tuple[float, tuple[int, ...]], ...]:
    """The near columns but the own, nearest first: the square of the distance, and offsets in places."""
    steps = range(-MARGIN, MARGIN + 1)
    rings: dict[float, list[int]] = {}
    for y, z in product(steps, steps):
        away = (y * spacing[1]) ** 2 + (z * spacing[2]) ** 2
        if 0 < away < _near_radius(spacing) ** 2:
            rings.setdefault(away, []).append(y * depth + z)
    return tuple((away, tuple(rings[away])) for away in sorted(rings))


def _lowest_sums(plane: Floats, y: Places, z: Places, spacing: Spacing, stride: int) -> Floats:
    """For each (y, z) the lowest sum of a square in the plane (Z, Y) and the square of the distance to it.

    Only every `stride`-th line of the plane is read, in both directions.
    """
    z_lines, y_lines = (np.arange(0, length, stride) for length in plane.shape)
    coarse = np.ascontiguousarray(plane[::stride, ::stride])
    along = np.empty((len(plane), len(y_lines)))  # rows that no z asks for stay empty
    for line in np.flatnonzero(np.bincount(z)):
        away = ((z_lines - line) * spacing[2]) ** 2
        (coarse + away[:, None]).min(axis=0, out=along[line])
    across = ((y[:, None] - y_lines) * spacing[1]) ** 2
    return np.asarray((along[z] + across).min(axis=1))
