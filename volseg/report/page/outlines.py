"""Masks as outlines that a browser draws: paths of SVG in quarters of a pixel."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from volseg.data.volume import Array
from volseg.visualization import svg

PARTS = 4  # units of a path in a pixel: outlines lie between the voxels' centres and turn smoothly
EXACT = 1.0  # how far, in units, an outline may be moved to save corners: a quarter of a pixel


def mask_outline(mask: Array, size: tuple[int, int]) -> str:
    """The `d` of a bool slice (X, Y) drawn `size` pixels (width, height) large; "" where it is empty.

    Holes are lines of their own, so an even-odd rule fills what the mask fills.
    """
    import cv2

    if not mask.any():
        return ""
    larger = (size[0] * PARTS, size[1] * PARTS)
    smooth = cv2.resize(np.ascontiguousarray(mask.T, dtype=np.float32), larger)
    solid = np.pad((smooth >= 0.5).astype(np.uint8), 1)
    contours, _ = cv2.findContours(solid, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return "".join(_contour_path(cv2.approxPolyDP(line, EXACT, True)[:, 0] - 1) for line in contours)


def _contour_path(corners: npt.NDArray[np.int32]) -> str:
    """A closed line through corners (N, 2): the first, then the steps to the others."""
    (x, y), steps = corners[0], np.diff(corners, axis=0)
    line = " ".join(f"{across} {down}" for across, down in steps.tolist()).replace(" -", "-")
    return f"M{x} {y}l{line or '0 0'}z"


def stacked_area_paths(areas: npt.NDArray[np.float64], height: float, *, most: float) -> list[str]:
    """Areas (C, Z) as stacked steps, a closed path a class, `height` high where their sum is `most`.

    Slice z lies between z and z + 1, and the first class at the bottom.
    """
    tops = height - height * np.cumsum(areas, axis=0) / (most or 1.0)
    floors = np.vstack([np.full(areas.shape[1], height), tops[:-1]])
    return [
        svg.path([*_step_points(top), *reversed(_step_points(floor))], closed=True) if area.any() else ""
        for area, top, floor in zip(areas, tops.tolist(), floors.tolist(), strict=True)
    ]


def _step_points(heights: Sequence[float]) -> list[tuple[float, float]]:
    return [point for z, y in enumerate(heights) for point in ((z, y), (z + 1, y))]
