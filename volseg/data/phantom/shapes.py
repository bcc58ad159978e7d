"""Tubes, ellipsoids and smooth random fields on a grid."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.data.phantom.centrelines import Centreline
from volseg.data.phantom.grids import Box, Floats, PatientSpace

Bools = npt.NDArray[np.bool_]
REACH = 1.35  # radii to which a tube's depth is known


@dataclass(frozen=True)
class Tube:
    """A tube's neighbourhood: `box` in the volume, and for each voxel of it `depth` and `nearest`.

    `depth` is the distance to the centreline in radii (0 in the middle, 1 at the wall, inf far
    away), `nearest` the index of the nearest sample of the path.
    """

    box: Box
    depth: Floats
    nearest: npt.NDArray[np.int32]


def rasterise_tube(space: PatientSpace, path: Centreline) -> Tube:
    """The depth around a tube, drawn bead by bead."""
    reach = REACH * path.radii[:, None]
    low, high = (path.points - reach).min(axis=0), (path.points + reach).max(axis=0)
    bounds = space.box_around((low + high) / 2, (high - low) / 2)
    around = space.crop(bounds)
    depth = np.full(around.shape, np.inf, np.float32)
    nearest = np.zeros(around.shape, np.int32)
    beads = zip(path.points, path.radii, strict=True) if depth.size else ()
    for index, (point, radius) in enumerate(beads):
        box = around.box_around(point, np.full(3, REACH * radius, np.float32))
        distance = _scaled_distance(around.crop(box), point, np.full(3, radius, np.float32))
        closer = distance < depth[box]
        depth[box][closer] = distance[closer]
        nearest[box][closer] = index
    return Tube(bounds, depth, nearest)


def ellipsoid_depth(space: PatientSpace, centre: Floats, semi: Floats) -> tuple[Box, Floats]:
    """The box around an ellipsoid and the depth in it: 0 in the middle, 1 on the surface."""
    box = space.box_around(centre, semi)
    return box, _scaled_distance(space.crop(box), centre, semi)


def smooth_noise(space: PatientSpace, wavelength_mm: float, rng: np.random.Generator) -> Floats:
    """Smooth noise (X, Y, Z) of about unit variance: a random lattice, interpolated linearly."""
    weights = [_interpolation_weights(axis.ravel(), wavelength_mm) for axis in (space.x, space.y, space.z)]
    lattice = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    for axis_weights in weights:
        lattice = np.tensordot(lattice, axis_weights, axes=(0, 1))
    return np.asarray(lattice * 1.8, np.float32)  # linear interpolation takes 2/3 of it an axis


def _scaled_distance(space: PatientSpace, centre: Floats, semi: Floats) -> Floats:
    square = ((space.x - centre[0]) / semi[0]) ** 2 + ((space.y - centre[1]) / semi[1]) ** 2
    return np.asarray(np.sqrt(square + ((space.z - centre[2]) / semi[2]) ** 2), np.float32)


def _interpolation_weights(axis: Floats, wavelength_mm: float) -> Floats:
    """Linear interpolation (N, M) from a lattice that covers the axis."""
    at = (axis - axis[0]) / wavelength_mm
    knots = np.arange(int(at[-1]) + 2)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - knots[None, :])), np.float32)
