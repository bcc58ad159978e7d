"""The trunk around the hollow organs: fat rim, muscle, bones, lungs, and the solid organs."""

from dataclasses import dataclass

import numpy as np

from volseg.data.phantom.centrelines import interpolate_waypoints
from volseg.data.phantom.grids import Floats, PatientSpace
from volseg.data.phantom.patient import Patient
from volseg.data.phantom.shapes import Bools, ellipsoid_depth, rasterise_tube, smooth_noise

# Signal of a T2/T1-weighted gradient echo, about 1 for fat. Many tissues share a grey on purpose.
FAT, BELLY_FAT, MUSCLE, MARROW, CORTEX, FLUID = 0.95, 0.72, 0.26, 0.44, 0.07, 0.9
LIVER, SPLEEN, KIDNEY, SINUS, HEART, LUNG, VESSEL = 0.34, 0.4, 0.45, 0.75, 0.36, 0.06, 0.5

DISC_MM = (34.0, 9.0)  # from one disc to the next, and its height; one lies at the iliac crest (L4/5)
WALL_MM = 13.0  # muscle around the belly
BACK_MM = 24.0  # the back's muscles are thicker by this
RIB_MM = (30.0, 9.0)  # from one rib to the next, and a rib's height
STREAKS = 2.1  # standard deviations: a few per cent of the muscle
SQUARENESS = 2.4  # 2 is an ellipse

# centre, semi-axes, signal; painted in this order, inside the belly only
_SOLID = (
    ((-72, 2, 34), (66, 74, 66), LIVER),
    ((-8, -44, 18), (76, 34, 36), LIVER),
    ((-42, -34, 78), (14, 15, 25), FLUID),
    ((102, 26, 34), (27, 40, 46), SPLEEN),
    ((-64, 28, 112), (26, 25, 52), KIDNEY),
    ((64, 30, 102), (26, 25, 52), KIDNEY),
    ((-54, 25, 112), (10, 9, 24), SINUS),
    ((54, 27, 102), (10, 9, 24), SINUS),
    ((8, 14, 66), (48, 9, 11), MUSCLE),
    ((0, -20, 262), (42, 36, 32), FLUID),
)

# number, root, centre and semi-axes of where they end, radius, signal: trees of small vessels
_VESSELS = (
    (14, (0, 14, 96), (0, -25, 150), (95, 40, 70), 2.6, MUSCLE),
    (10, (-30, -4, 62), (-70, 0, 30), (50, 55, 45), 2.6, VESSEL),
    (14, (-60, 0, -40), (-80, 10, -70), (30, 50, 60), 2.2, VESSEL),
    (14, (60, 10, -40), (85, 10, -70), (30, 50, 60), 2.2, VESSEL),
)


@dataclass(frozen=True)
class Trunk:
    """Regions (X, Y, Z) and the signal in them; `skin` is 1 on the skin, less inside, more outside."""

    skin: Floats
    body: Bools
    cavity: Bools
    signal: Floats


def paint_trunk(space: PatientSpace, patient: Patient, rng: np.random.Generator) -> Trunk:
    """Paint a patient without stomach and bowel."""
    skin = _outline_depth(space, patient, 0.0)
    body = skin < 1
    signal = np.where(body, FAT, 0).astype(np.float32)
    _paint_wall(space, patient, signal, rng)
    cavity = _outline_depth(space, patient, 1.0, WALL_MM) < 1
    signal[cavity] = BELLY_FAT
    _paint_solid_organs(space, patient, signal, cavity)
    above = _paint_chest(space, patient, signal, cavity)
    _paint_vessels(space, patient, signal, rng)
    cavity &= ~above
    cavity &= ~_paint_spine(space, patient, signal)
    cavity &= ~_paint_pelvis(space, patient, signal)
    return Trunk(skin, body, cavity, signal)


def _outline_depth(space: PatientSpace, patient: Patient, rims: float, inset_mm: float = 0.0) -> Floats:
    """Depth in the trunk's outline: 1 on the skin (`rims` 0) or under the fat (`rims` 1)."""
    side, front, back = (rims * rim + inset_mm for rim in patient.rim_mm)
    hips = 1 + 0.06 * np.tanh((space.z - 190) / 40) - 0.03 * np.tanh((70 - space.z) / 50)
    half_x = patient.half_mm[0] * hips - side
    back += BACK_MM if inset_mm else 0.0
    half_y = np.where(space.y < 0, patient.half_mm[1] * hips - front, patient.half_mm[1] * 0.92 - back)
    wide = np.abs(space.x / half_x) ** SQUARENESS
    return np.asarray(wide + np.abs(space.y / half_y) ** SQUARENESS, np.float32)


def _paint_wall(space: PatientSpace, patient: Patient, signal: Floats, rng: np.random.Generator) -> None:
    """Muscle streaked with fat; slanting ribs in it down to the costal margin."""
    muscle = _outline_depth(space, patient, 1.0) < 1
    signal[muscle] = MUSCLE
    signal[muscle & (smooth_noise(space, 8, rng) > STREAKS)] = BELLY_FAT
    slant = np.mod(space.z - 0.4 * np.abs(space.x) - 0.3 * space.y, RIB_MM[0])
    chest = muscle & (_outline_depth(space, patient, 1.0, 3.0) < 1) & (space.z < 110 - np.abs(space.y))
    signal[chest & (slant < RIB_MM[1])] = MARROW


def _paint_solid_organs(space: PatientSpace, patient: Patient, signal: Floats, cavity: Bools) -> None:
    for centre, semi, grey in _SOLID:
        grown = patient.liver if grey in (LIVER, SPLEEN) else 1.0
        at = np.array(centre, np.float32) * patient.size
        box, depth = ellipsoid_depth(space, at, np.array(semi, np.float32) * patient.size * grown)
        signal[box][(depth < 1) & cavity[box]] = grey


def _paint_vessels(space: PatientSpace, patient: Patient, signal: Floats, rng: np.random.Generator) -> None:
    for count, root, centre, semi, radius, grey in _VESSELS:
        for _ in range(count):
            end = np.array(centre) + np.array(semi) * rng.uniform(-1, 1, 3)
            half = (np.array(root) + end) / 2 + rng.normal(0, 9, 3)
            path = interpolate_waypoints(np.stack([root, half, end]) * patient.size, np.full(3, radius))
            vessel = rasterise_tube(space, path)
            signal[vessel.box][vessel.depth < 1] = grey


def _paint_chest(space: PatientSpace, patient: Patient, signal: Floats, cavity: Bools) -> Bools:
    """Lungs above a domed diaphragm, with the heart between them; returns what lies above it."""
    rise = (space.x / patient.half_mm[0]) ** 2 + (space.y / patient.half_mm[1]) ** 2
    above = cavity & (space.z < -34 + 62 * rise)
    signal[above] = LUNG
    at = np.array([22, -30, -72], np.float32) * patient.size
    box, depth = ellipsoid_depth(space, at, np.array([55, 45, 52], np.float32))
    signal[box][(depth < 1) & above[box]] = HEART
    return above


def _paint_spine(space: PatientSpace, patient: Patient, signal: Floats) -> Bools:
    """Vertebrae, discs, canal, the muscles beside them and the great vessels."""
    y = 48 * patient.size[1]
    vertebra = (space.x / 24) ** 2 + ((space.y - y) / 18) ** 2
    disc = np.mod(space.z - patient.crest_mm, DISC_MM[0]) < DISC_MM[1]
    muscles = ((np.abs(space.x) - 36) / 30) ** 2 + ((space.y - y - 22) / 20) ** 2 < 1
    psoas_mm = np.clip((space.z - 60) / 5, 0.1, 22)
    psoas = ((np.abs(space.x) - 40) / psoas_mm) ** 2 + ((space.y - y + 6) / psoas_mm) ** 2 < 1
    whole = np.broadcast_to(vertebra < 1, space.shape)
    signal[psoas | np.broadcast_to(muscles, space.shape)] = MUSCLE
    signal[whole] = CORTEX
    signal[(vertebra < 0.78) & ~disc] = MARROW
    canal = (space.x / 10) ** 2 + ((space.y - y - 28) / 8) ** 2
    signal[np.broadcast_to(canal < 1.7, space.shape)] = CORTEX
    signal[np.broadcast_to(canal < 1, space.shape)] = FLUID
    vessels = _great_vessels(space, y - 28, patient.crest_mm)
    signal[vessels] = VESSEL
    return np.asarray(whole | psoas | vessels | (canal < 1.7), bool)


def _great_vessels(space: PatientSpace, y_mm: float, fork_mm: float) -> Bools:
    """Aorta and vena cava, which fork at the level of the iliac crest."""
    spread = np.clip(space.z - fork_mm, 0, 60) * 0.5
    inside = np.zeros(space.shape, bool)
    for x, radius in ((9, 10), (-17, 11)):
        for side in (-1, 1):
            across = (space.x - x - side * spread) ** 2 + (space.y - y_mm - 0.3 * spread) ** 2
            inside |= across < (radius - 0.1 * spread) ** 2
    return inside


def _paint_pelvis(space: PatientSpace, patient: Patient, signal: Floats) -> Bools:
    """The wings of the ilium, from the crest downwards, with muscle on both sides."""
    bone = np.zeros(space.shape, bool)
    for side in (-1, 1):
        at = np.array([side * 104, 34, 0], np.float32) * patient.size
        at[2] = patient.crest_mm + 75
        box, muscle = ellipsoid_depth(space, at, np.array([36, 58, 75], np.float32))
        signal[box][muscle < 1] = MUSCLE
        bone[box] |= muscle < 1
        box, wing = ellipsoid_depth(space, at, np.array([16, 52, 75], np.float32))
        signal[box][wing < 1] = CORTEX
        signal[box][wing < 0.8] = MARROW
    return bone
