"""A picture of a scan with its masks: slices side by side, classes in outline."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.intensity_scaling import Percentiles, scale_intensities
from volseg.data.volume import Array, Volume
from volseg.system.files import atomic_path

Picture = npt.NDArray[np.uint8]
COLOURS = ((230, 159, 0), (86, 180, 233), (240, 228, 66), (0, 158, 115), (213, 94, 0), (204, 121, 167))
"""Red, green, blue of each class in turn: Okabe and Ito's palette, safe for the colour-blind."""
WHITE = (255, 255, 255)
PANEL = 360  # width of one slice's panel in pixels
SLICES = 4
BAR = 28  # height of the bar of text in pixels


def draw_overlay(
    image: Volume,
    masks: Array,
    *,
    labels: Array | None = None,
    classes: Sequence[str] = (),
    numbers: Sequence[int] = (),
) -> Picture:
    """Slices spread over the masks, (H, W, 3): the row of the labels (if any) above the prediction's.

    Each slice is shown as a reader sees it: the patient's left on the right, the front on top.
    Masks are bool (C, X, Y, Z) on the image's native grid; `numbers` are the slices' source numbers
    along its Z (by default they are counted from 1).
    """
    grid = NetworkGrid.from_volume(image, None)
    voxels = grid.orient(image.voxels)
    grey = scale_intensities(voxels, Percentiles().levels(voxels))
    rows = {"": masks} if labels is None else {"truth, ": labels, "prediction, ": masks}
    oriented = {title: np.stack([grid.orient(mask) for mask in row]) for title, row in rows.items()}
    slices = _choose_slices(np.any([row.any(axis=0) for row in oriented.values()], axis=0))
    panels = [
        [
            draw_slice(grey[..., z], row[..., z], f"{title}slice {numbers[z] if numbers else z + 1}")
            for z in slices
        ]
        for title, row in oriented.items()
    ]
    picture = np.concatenate([np.concatenate(row, axis=1) for row in panels])
    return np.concatenate([picture, _draw_legend(classes, picture.shape[1])]) if classes else picture


def write(path: Path, picture: Picture) -> None:
    """Write a picture as PNG, atomically."""
    import cv2

    with atomic_path(path) as temporary:
        _, data = cv2.imencode(".png", picture[..., ::-1])
        temporary.write_bytes(data.tobytes())


def _choose_slices(any_mask: Array) -> list[int]:
    """Slices at even steps over those with a mask (X, Y, Z), or over the scan where there is none."""
    marked = np.flatnonzero(any_mask.any(axis=(0, 1)))
    first, last = (marked[0], marked[-1]) if marked.size else (0, any_mask.shape[2] - 1)
    places = np.linspace(first, last, SLICES + 2)[1:-1]
    return [round(float(place)) for place in places]


def draw_slice(
    grey: Array, masks: Array, text: str, *, width: int | None = None, aspect: float | None = None
) -> Picture:
    """A slice (X, Y), from 0 to 1, with the outlines of its masks (C, X, Y), rows downwards.

    It is PANEL or `width` pixels wide, and `aspect` times as high: by default as many times as it has rows to
    columns.
    """
    import cv2

    width = width or PANEL
    size = width, round(width * (aspect or grey.shape[1] / grey.shape[0]))
    enlarged = cv2.resize(np.ascontiguousarray(grey.T), size, interpolation=cv2.INTER_LINEAR)
    picture = np.repeat((enlarged * 255).astype(np.uint8)[..., None], 3, axis=2)
    for colour, mask in zip(cycle(COLOURS), masks, strict=False):
        large = cv2.resize(np.ascontiguousarray(mask.T, dtype=np.float32), size)
        outline, _ = cv2.findContours((large >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, colour, 2, cv2.LINE_AA)
    _draw_text(picture, text, (8, 20))
    _draw_text(picture, "L", (width - 18, size[1] // 2))  # the patient's left
    _draw_text(picture, "R", (8, size[1] // 2))
    return picture


def _draw_legend(classes: Sequence[str], width: int) -> Picture:
    import cv2

    bar = np.zeros((BAR, width, 3), np.uint8)
    left = 10
    for colour, name in zip(cycle(COLOURS), classes, strict=False):
        cv2.rectangle(bar, (left, 9), (left + 12, 21), colour, cv2.FILLED)
        text = name.replace("_", " ")
        _draw_text(bar, text, (left + 18, 20))
        left += 40 + 10 * len(text)
    return bar


def _draw_text(picture: Picture, text: str, place: tuple[int, int]) -> None:
    import cv2

    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, WHITE, 1, cv2.LINE_AA)
