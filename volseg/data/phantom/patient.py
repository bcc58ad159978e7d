"""The anatomy of a case, and its change on one day; all in mm."""

from dataclasses import dataclass

import numpy as np

from volseg.data.phantom.centrelines import STEP_MM, Centreline, coil_waypoints, interpolate_waypoints
from volseg.data.phantom.grids import Floats

# The difference of a day from the case, tuned until masks copied from one day to another overlap as little as
# real ones; tests/data/phantom/test_phantom.py holds them there.
SHIFT_MM = (6.0, 5.0, 10.0)
STOMACH_MOVE_MM = (9.0, 8.0, 9.0)  # as a whole, and each part of it again
STOMACH_GROWTH = 0.3  # of the volume's logarithm: one real stomach held 214 to 821 ml in a week
COLON_MOVE_MM = (14.0, 14.0, 15.0)
BOWEL_MOVE_MM = 4.0

COIL_PITCH_MM = 29.5
BOWEL_RADIUS_MM = 13.0
CUT_MM = (6.0, 1.5)  # below the iliac crest, and its spread over days
HAUSTRA_MM = 34.0  # from one pouch of the large bowel to the next

# The range of cases: the belly's half width and depth, the fat rim at side, front and back.
HALF_MM = ((150, 170), (102, 118))
RIM_MM = ((8, 26), (6, 20), (8, 22))
USUAL_MM = (145, 97)  # from the middle to the rim, in the patient for whom the waypoints are drawn
CREST_MM = (146, 162)  # where the iliac wings begin
GAIN = (5000, 11500)  # the scanner's units for the signal of fat; they differ between scans
NOISE = (0.028, 0.042)  # of the signal of fat, in pixels of 1.5 mm

# Waypoints and radii, from the cardia to the pylorus and from the caecum to the rectum.
_STOMACH = (
    (48, 16, 6, 17), (66, 8, 22, 28), (68, -12, 48, 27),
    (48, -34, 72, 23), (12, -40, 80, 17), (-14, -28, 78, 11),
)  # fmt: skip
_COLON = (
    (-66, -6, 212, 22), (-88, 0, 180, 21), (-94, 4, 140, 20), (-88, -6, 104, 20), (-52, -46, 112, 19),
    (0, -60, 122, 18), (52, -50, 106, 18), (96, 0, 72, 18), (100, 14, 110, 15), (98, 10, 150, 15),
    (84, 6, 190, 15), (46, -6, 214, 15), (14, 12, 230, 15), (0, 34, 275, 18),
)  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """The anatomy on all days. `size` (3,) scales it along x, y, z."""

    size: Floats
    half_mm: tuple[float, float]
    rim_mm: tuple[float, float, float]
    stomach: Floats
    colon: Floats
    bowel_centre: Floats
    bowel_semi: Floats
    liver: float
    crest_mm: float


@dataclass(frozen=True)
class Day:
    """One visit: the patient's place, the hollow organs' paths, and the scanner's settings."""

    patient: Patient
    shift_mm: Floats
    stomach: Centreline
    colon: Centreline
    bowel: Centreline
    cut_mm: float
    gain: float
    noise: float
    wobble: Floats


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw a case's anatomy."""
    width, depth = (rng.uniform(*span) for span in HALF_MM)
    side, front, back = (rng.uniform(*span) for span in RIM_MM)
    wide, deep = (width - side) / USUAL_MM[0], (depth - front) / USUAL_MM[1]
    stomach = _jitter_waypoints(np.array(_STOMACH), (8, 6, 6), 0.08, rng)
    stomach[:, :3] += rng.normal(0, (9, 9, 11))
    return Patient(
        size=np.array([wide, deep, rng.uniform(0.94, 1.04)], np.float32),
        half_mm=(width, depth),
        rim_mm=(side, front, back),
        stomach=stomach,
        colon=_jitter_waypoints(np.array(_COLON), (6, 7, 9), 0.1, rng),
        bowel_centre=np.array([4, -18, 156]) + rng.normal(0, (8, 4, 6)),
        bowel_semi=np.array([76, 44, 72]) * rng.uniform(0.88, 1.08, 3),
        liver=rng.uniform(0.88, 1.1),
        crest_mm=rng.uniform(*CREST_MM),
    )


def draw_day(patient: Patient, rng: np.random.Generator) -> Day:
    """Draw one day of a case."""
    return Day(
        patient=patient,
        shift_mm=rng.normal(0, SHIFT_MM).astype(np.float32),
        stomach=_draw_stomach(patient, rng),
        colon=_draw_colon(patient, rng),
        bowel=_draw_bowel(patient, rng),
        cut_mm=patient.crest_mm + rng.normal(*CUT_MM),
        gain=rng.uniform(*GAIN),
        noise=rng.uniform(*NOISE),
        wobble=rng.normal(0, 1, 6).astype(np.float32),
    )


def _draw_stomach(patient: Patient, rng: np.random.Generator) -> Centreline:
    way = _jitter_waypoints(patient.stomach, STOMACH_MOVE_MM, 0.08, rng)
    way[:, :3] += rng.normal(0, STOMACH_MOVE_MM)
    way[:-1, 3] *= np.exp(rng.normal(0, STOMACH_GROWTH)) ** 0.5
    return interpolate_waypoints(way[:, :3] * patient.size, way[:, 3])


def _draw_colon(patient: Patient, rng: np.random.Generator) -> Centreline:
    way = _jitter_waypoints(patient.colon, COLON_MOVE_MM, 0.12, rng)
    path = interpolate_waypoints(way[:, :3] * patient.size, way[:, 3])
    along = np.arange(len(path.radii)) * STEP_MM
    pouches = 1 + 0.13 * np.cos(2 * np.pi * along / HAUSTRA_MM + rng.uniform(0, 6))
    return Centreline(path.points, (path.radii * pouches).astype(np.float32))


def _draw_bowel(patient: Patient, rng: np.random.Generator) -> Centreline:
    centre = patient.bowel_centre + rng.normal(0, BOWEL_MOVE_MM, 3)
    semi = patient.bowel_semi * rng.uniform(0.93, 1.06, 3)
    way = coil_waypoints(centre, semi, COIL_PITCH_MM, rng)
    radii = BOWEL_RADIUS_MM * rng.uniform(0.85, 1.2, len(way))
    return interpolate_waypoints(way * patient.size, radii)


def _jitter_waypoints(
    way: Floats, spread_mm: tuple[float, float, float], growth: float, rng: np.random.Generator
) -> Floats:
    """Waypoints (M, 4) of x, y, z and radius, each moved and grown a little on its own."""
    moved = way.astype(np.float64)
    moved[:, :3] += rng.normal(0, spread_mm, (len(way), 3))
    moved[:, 3] *= np.exp(rng.normal(0, growth, len(way)))
    return moved
