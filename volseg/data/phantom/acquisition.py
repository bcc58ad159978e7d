"""One scan of the phantom: the image of a scanner, and the labels of an expert."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from volseg.data.phantom import hollow_organs as hollow
from volseg.data.phantom.grids import SMALL, Floats, PatientSpace, ScanGrid, patient_space
from volseg.data.phantom.patient import Day, draw_day, draw_patient
from volseg.data.phantom.shapes import Bools, smooth_noise
from volseg.data.phantom.trunk import Trunk, paint_trunk

CLASSES = ("large_bowel", "small_bowel", "stomach")

TEXTURE = 0.035  # grain of every tissue
BLUR_VOXELS = 0.45  # the scanner's point spread, in the slice
FINE_MM = 1.5  # the pixel of a day's noise; larger pixels have less
ZEROS = (0.55, 0.6)  # the share of exact zeros in real scans
PRESSED = 1.0  # the depth to which an organ pushes its neighbours aside: outlines overlap, organs do not


def simulate_scan(
    case: int, day: int, *, grid: ScanGrid = SMALL[0], seed: int = 0
) -> tuple[npt.NDArray[np.uint16], Bools]:
    """One scan: image uint16 (X, Y, Z) and masks bool (3, X, Y, Z) in the order of `CLASSES`.

    The same case and day are the same patient on every grid, up to grain and noise. Below the day's cut there
    are no labels, though the bowel goes on.
    """
    patient = draw_patient(np.random.default_rng([seed, case]))
    today = draw_day(patient, np.random.default_rng([seed, case, day]))
    return render_day(today, grid, np.random.default_rng([seed, case, day, *grid.shape]))


def render_day(today: Day, grid: ScanGrid, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint16], Bools]:
    """Image (X, Y, Z) and masks (3, X, Y, Z) of one day on a grid; `rng` draws grain and noise."""
    space = patient_space(grid, today.shift_mm)
    trunk = paint_trunk(space, today.patient, rng)
    masks = _paint_organs(space, trunk, today, rng)
    return _acquire_image(space, trunk, today, rng), masks


def _paint_organs(space: PatientSpace, trunk: Trunk, today: Day, rng: np.random.Generator) -> Bools:
    """Paint the hollow organs into the trunk, back to front; returns their masks (3, X, Y, Z)."""
    bowel = hollow.inflate_organ(space, today.bowel, trunk.cavity, rng)
    hollow.paint_bowel(space, trunk, bowel, rng)
    colon = hollow.inflate_organ(space, today.colon, trunk.cavity, rng)
    hollow.paint_colon(space, trunk, colon, rng)
    stomach = hollow.inflate_organ(space, today.stomach, trunk.cavity, rng)
    hollow.paint_stomach(space, trunk, stomach, rng)
    masks = np.stack([hollow.outline_mask(space.shape, organ) for organ in (colon, bowel, stomach)])
    cores = [hollow.outline_mask(space.shape, organ, PRESSED) for organ in (colon, stomach)]
    masks[1] &= ~(cores[0] | cores[1])
    masks[0] &= ~cores[1]
    masks[:, :, :, space.z.ravel() > today.cut_mm] = False
    return masks


def _acquire_image(
    space: PatientSpace, trunk: Trunk, today: Day, rng: np.random.Generator
) -> npt.NDArray[np.uint16]:
    """The scanner's image, uint16 (X, Y, Z): grain, blur, coil sensitivity, Rician noise, exact zeros."""
    signal = trunk.signal * (1 + TEXTURE * smooth_noise(space, 6, rng))
    signal = gaussian_filter(signal, (BLUR_VOXELS, BLUR_VOXELS, 0)) * _coil_sensitivity(space, today.wobble)
    noise = today.noise * np.sqrt(FINE_MM / (space.x[1] - space.x[0]).item())
    real = signal + noise * rng.standard_normal(space.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(space.shape, dtype=np.float32)
    magnitude = np.hypot(real, imaginary) * today.gain
    magnitude[_zero_voxels(trunk, rng)] = 0
    return np.asarray(np.rint(magnitude), np.uint16)


def _coil_sensitivity(space: PatientSpace, wobble: Floats) -> Floats:
    """A smooth sensitivity: tilted and bent, weaker towards the first and last slices."""
    x, y, z = space.x / 180, space.y / 130, (space.z - 60) / 160
    tilt = 0.07 * (wobble[0] * x + wobble[1] * y + wobble[2] * z)
    bend = 0.05 * (wobble[3] * x * y + wobble[4] * y * z + wobble[5] * x * z)
    return np.asarray(np.clip(1 + tilt + bend - 0.04 * z * z, 0.3, 2), np.float32)


def _zero_voxels(trunk: Trunk, rng: np.random.Generator) -> Bools:
    """The mask of exact zeros: outside the body, but for a seam of noise around it."""
    seam = float(np.quantile(trunk.skin, 1 - rng.uniform(*ZEROS)))
    return np.asarray(trunk.skin > max(seam, 1.0), bool)
