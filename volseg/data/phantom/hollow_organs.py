"""Stomach and bowel: their outlines and their signal."""

from dataclasses import dataclass

import numpy as np

from volseg.data.phantom.centrelines import STEP_MM, Centreline
from volseg.data.phantom.grids import Floats, PatientSpace
from volseg.data.phantom.shapes import Bools, Tube, rasterise_tube, smooth_noise
from volseg.data.phantom.trunk import Trunk

GAS = 0.03
OUTLINE = 1.08  # radii: outlines run a little outside the wall, so that labels of neighbours overlap
ROUGH = 0.07  # unevenness of the wall, in radii
ROUGH_MM = 16.0
NOWHERE = 9.0  # a depth beyond every outline


@dataclass(frozen=True)
class HollowOrgan:
    """A hollow organ on the grid: its tube, the depth in the tube's box, and the centreline."""

    tube: Tube
    depth: Floats
    path: Centreline

    @property
    def along_mm(self) -> Floats:
        """The distance in mm along the organ of each voxel in the tube's box."""
        return np.asarray(self.tube.nearest * STEP_MM, np.float32)


def inflate_organ(
    space: PatientSpace, path: Centreline, cavity: Bools, rng: np.random.Generator
) -> HollowOrgan:
    """The organ along a path within the belly: a tube with an uneven wall."""
    tube = rasterise_tube(space, path)
    rough = ROUGH * np.clip(smooth_noise(space.crop(tube.box), ROUGH_MM, rng), -2, 2)
    depth = np.where(cavity[tube.box], tube.depth + rough, NOWHERE).astype(np.float32)
    return HollowOrgan(tube, depth, path)


def outline_mask(shape: tuple[int, int, int], organ: HollowOrgan, depth: float = OUTLINE) -> Bools:
    """The organ's mask (X, Y, Z), down to the depth of its label or another one."""
    mask = np.zeros(shape, dtype=bool)
    mask[organ.tube.box] = organ.depth < depth
    return mask


def paint_stomach(space: PatientSpace, trunk: Trunk, organ: HollowOrgan, rng: np.random.Generator) -> None:
    """Paint a thick grey wall around a mixed meal, with a little gas in front."""
    here = space.crop(organ.tube.box)
    meal = 0.22 + 0.11 * smooth_noise(here, 13, rng)
    gas = _height_in_radii(here, organ) > rng.uniform(0.5, 0.9)
    _paint_organ(trunk, organ, np.where(gas, GAS, meal), wall=(0.5, 0.8))


def paint_bowel(space: PatientSpace, trunk: Trunk, organ: HollowOrgan, rng: np.random.Generator) -> None:
    """Paint a tube with folds across it and more or less bright content."""
    here = space.crop(organ.tube.box)
    folds = 0.12 * np.sin(2 * np.pi * organ.along_mm / 12)
    content = 0.52 + folds + 0.08 * smooth_noise(here, 7, rng) + 0.05 * smooth_noise(here, 40, rng)
    _paint_organ(trunk, organ, content, wall=(0.3, 0.82))


def paint_colon(space: PatientSpace, trunk: Trunk, organ: HollowOrgan, rng: np.random.Generator) -> None:
    """Paint a thin wall, dark gas above bright content; the level changes from pouch to pouch."""
    here = space.crop(organ.tube.box)
    level = 0.1 + 0.4 * _noise_along(organ, 70, rng)
    content = 0.82 + 0.1 * _noise_along(organ, 120, rng) + 0.09 * smooth_noise(here, 9, rng)
    gas = _height_in_radii(here, organ) > level
    _paint_organ(trunk, organ, np.where(gas, GAS, content), wall=(0.36, 0.88))


def _paint_organ(trunk: Trunk, organ: HollowOrgan, content: Floats, *, wall: tuple[float, float]) -> None:
    """Paint content up to the wall's inner depth, the wall's grey outside it."""
    grey, inner = wall
    filled = np.where(organ.depth < inner, content, grey)
    inside = organ.depth < 1
    trunk.signal[organ.tube.box][inside] = np.maximum(filled[inside], GAS)


def _height_in_radii(space: PatientSpace, organ: HollowOrgan) -> Floats:
    """Height above the centreline in radii; up is to the front, as the patient lies on the back."""
    middle = organ.path.points[:, 1][organ.tube.nearest]
    return np.asarray((middle - space.y) / organ.path.radii[organ.tube.nearest], np.float32)


def _noise_along(organ: HollowOrgan, wavelength_mm: float, rng: np.random.Generator) -> Floats:
    """Smooth noise that changes along the organ only."""
    length = len(organ.path.radii) * STEP_MM
    knots = rng.standard_normal(int(length / wavelength_mm) + 2)
    at = np.arange(len(organ.path.radii)) * STEP_MM / wavelength_mm
    values = np.interp(at, np.arange(len(knots)), knots)
    return np.asarray(values[organ.tube.nearest], np.float32)
