"""Slices as PNG, for browsers that can't show volumes."""

import numpy as np

from volseg.data.mask_files import Mask
from volseg.data.preprocessing.intensity_scaling import scale_intensities
from volseg.data.volume import Array
from volseg.visualization.overlay import draw_slice

WIDTH = 720  # pixels


def slice_png(
    image: Array | None,
    masks: dict[int, Mask],
    *,
    window: tuple[float, float],
    text: str,
    spacing_mm: tuple[float, float, float],
) -> bytes:
    """A slice as a reader sees it, with outlines of its masks; `masks` are by the place of their colours.

    All are slices (X, Y) of the display grid; without an image the ground is black.
    """
    import cv2

    shape = next(iter(masks.values())).shape if image is None else image.shape
    grey = np.zeros(shape, np.float32) if image is None else scale_intensities(image, window)
    empty = np.zeros(shape, bool)
    stack = np.stack([masks.get(place, empty) for place in range(max(masks, default=0) + 1)])
    aspect = shape[1] * spacing_mm[1] / (shape[0] * spacing_mm[0])
    picture = draw_slice(grey[::-1, ::-1], stack[:, ::-1, ::-1], text, width=WIDTH, aspect=aspect)
    _, data = cv2.imencode(".png", picture[..., ::-1])
    return data.tobytes()
