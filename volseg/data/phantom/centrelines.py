"""Centrelines of hollow organs: smooth paths through waypoints, and waypoints of coils in an ellipsoid."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.distance import cdist

from volseg.data.phantom.grids import Floats

STEP_MM = 3.0  # between samples of a path: finer than any tube's radius


@dataclass(frozen=True)
class Centreline:
    """A tube: `points` (N, 3) in mm, one every `STEP_MM`, and `radii` (N,) in mm."""

    points: Floats
    radii: Floats


def interpolate_waypoints(waypoints: Floats, radii: Floats) -> Centreline:
    """A smooth tube through `waypoints` (M, 3) whose radius runs through `radii` (M,)."""
    lengths = np.linalg.norm(np.diff(waypoints, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(np.maximum(lengths, STEP_MM))])
    samples = np.linspace(0, at[-1], int(at[-1] / STEP_MM) + 2)
    points = CubicSpline(at, waypoints)(samples)
    return Centreline(points.astype(np.float32), np.interp(samples, at, radii).astype(np.float32))


def coil_waypoints(centre: Floats, semi: Floats, pitch_mm: float, rng: np.random.Generator) -> Floats:
    """Waypoints (M, 3) of a tour through an ellipsoid, about one a `pitch_mm` cube, in short steps."""
    steps = [np.arange(-half, half + pitch_mm, pitch_mm) for half in semi]
    lattice = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = lattice + rng.uniform(-0.5, 0.5, 3) * pitch_mm
    lattice = lattice + rng.normal(0, 0.22 * pitch_mm, lattice.shape)
    inside = lattice[((lattice / semi) ** 2).sum(axis=1) < 1]
    return np.asarray(inside[_visiting_order(inside, rng)] + centre, np.float32)


def _visiting_order(points: Floats, rng: np.random.Generator) -> list[int]:
    """The order of visiting about the nearest free point each time, without long jumps."""
    distances = cdist(points, points) * rng.uniform(0.75, 1.25, (len(points), len(points)))
    order = [int(points[:, 2].argmin())]
    free = np.ones(len(points), dtype=bool)
    free[order[0]] = False
    while free.any():
        order.append(int(np.where(free, distances[order[-1]], np.inf).argmin()))
        free[order[-1]] = False
    return _shortened_order(order, cdist(points, points))


def _shortened_order(order: list[int], distances: Floats) -> list[int]:
    """The tour after one pass of 2-opt: stretches are reversed where that makes it shorter."""
    for first in range(1, len(order) - 1):
        for last in range(first + 1, len(order) - 1):
            before, start, end, after = order[first - 1], order[first], order[last], order[last + 1]
            now = distances[before, start] + distances[end, after]
            if distances[before, end] + distances[start, after] < now:
                order[first : last + 1] = order[first : last + 1][::-1]
    return order
