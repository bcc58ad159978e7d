"""A scan to scroll through: slices as small pictures, masks as outlines, and where both sides differ."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.arrays import Box, bounding_box
from volseg.data.preprocessing.body_box import body_box
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.intensity_scaling import Intensity, scale_intensities
from volseg.data.volume import Array, Volume
from volseg.report.page.outlines import PARTS, mask_outline, stacked_area_paths

QUALITY = 60
"""Of WebP: a third smaller than JPEG that looks alike."""
LARGEST = 320
"""Pixels along a side; larger slices are shown smaller."""
AROUND_MM = 5.0
SliceRanges = Sequence[tuple[int, int]]
"""The first and last slice of each, by what slices are called."""
BESIDE = 4
"""Slices that are shown above the first and below the last with an organ."""


@dataclass(frozen=True)
class ScanImages:
    """What there is of a scan on one grid: masks bool (C, X, Y, Z) as predicted, and the truth.

    `numbers` are the source numbers of the slices, empty where it came from a volume.
    `check` are ranges of them to look at first, `also` others that must be shown.
    """

    prediction: Array
    labels: Array | None
    geometry: Volume
    image: Volume | None = None
    numbers: Sequence[int] = ()
    check: SliceRanges = ()
    must_show: SliceRanges = ()


def encode_scan(sides: ScanImages, intensity: Intensity) -> str:
    """The scan as JSON, for the page's script: slices from head to feet, each as a reader sees it.

    `numbers` are what slices are called, `check` ranges of them; `images` are WebP in base64, empty
    without an image; `lines` are paths by side, class and slice. `_frame` and `_differing` tell the rest.
    """
    grid = NetworkGrid.from_volume(sides.geometry, None)
    turned = {"prediction": _orient_masks(sides.prediction, grid)}
    if sides.labels is not None:
        turned["truth"] = _orient_masks(sides.labels, grid)
    called = slice_numbers(grid, sides.numbers)
    box = _crop_box(turned, sides.image, grid, _slice_span(called, [*sides.check, *sides.must_show]))
    seen = {name: masks[(slice(None), *box)] for name, masks in turned.items()}
    told = {
        **_frame_geometry(seen["prediction"].shape, grid),
        "numbers": called[box[2]],
        "check": [list(one) for one in sides.check],
        "images": [] if sides.image is None else _encode_slices(sides.image, grid, box, intensity),
        "lines": {name: [_slice_outlines(mask) for mask in masks] for name, masks in seen.items()},
        **_difference_profile(seen, grid),
    }
    return json.dumps(told, separators=(",", ":"))


def _frame_geometry(shape: Sequence[int], grid: NetworkGrid) -> dict[str, Any]:
    """Of masks (C, X, Y, Z): `mm` wide and high, `width` in pixels, and `scale` from lines' units to mm."""
    (_, wide, high, _), (x, y, _) = shape, grid.oriented_mm
    pixels = _image_size((wide, high))
    mm = (wide * x, high * y)
    return {
        "mm": [round(side, 2) for side in mm],
        "width": pixels[0],
        "scale": [side / count / PARTS for side, count in zip(mm, pixels, strict=True)],
    }


def _slice_outlines(mask: Array) -> list[str]:
    """A path for each slice of a mask (X, Y, Z)."""
    size = _image_size(mask.shape)
    return [mask_outline(mask[..., z], size) for z in range(mask.shape[2])]


def _difference_profile(seen: Mapping[str, Array], grid: NetworkGrid) -> dict[str, Any]:
    """How much differs by slice, as the paths of a `profile`, and where most does.

    `labelled` are the first and last slice with truth: beyond them organs may go on, so what differs there
    need be no error. Between them `most_cm2` differ on the slice `first`.
    """
    x, y, _ = grid.oriented_mm
    areas = _difference_areas(seen) * x * y / 100
    first, last = _labelled_range(seen)
    judged = areas[:, first : last + 1].sum(axis=0)
    return {
        "labelled": [first, last],
        "profile": stacked_area_paths(areas, 100, most=float(judged.max())),
        "most_cm2": round(float(judged.max()), 1),
        "first": first + int(judged.argmax()),
    }


def _labelled_range(seen: Mapping[str, Array]) -> tuple[int, int]:
    """The first and last slice with truth; with a prediction, where there is no truth at all."""
    masks = seen.get("truth", seen["prediction"])
    found = np.flatnonzero(masks.any(axis=(0, 1, 2)))
    return (int(found[0]), int(found[-1])) if found.size else (0, masks.shape[3] - 1)


def _orient_masks(masks: Array, grid: NetworkGrid) -> npt.NDArray[np.bool_]:
    return np.stack([grid.orient(mask) for mask in masks])


def _image_size(shape: Sequence[int]) -> tuple[int, int]:
    """Width and height in pixels."""
    share = min(1.0, LARGEST / max(shape[:2]))
    return max(1, round(shape[0] * share)), max(1, round(shape[1] * share))


def _slice_span(called: Sequence[int], wanted: SliceRanges) -> slice:
    """From the first to the last slice of some ranges; empty where there are none."""
    ends = [called.index(end) for one in wanted for end in one if end in called]
    return slice(min(ends), max(ends) + 1) if ends else slice(0, 0)


def _crop_box(turned: Mapping[str, Array], image: Volume | None, grid: NetworkGrid, reach: slice) -> Box:
    """The body and all organs, from head to feet the slices with organs, those to reach, and a few beside."""
    x, y, z = bounding_box(np.any([masks.any(axis=0) for masks in turned.values()], axis=0))
    across = [(x, y)]
    if image is not None:
        body = body_box([grid.orient(image.voxels)], grid.oriented_mm, margin_mm=AROUND_MM)
        across.append(body[:2])
    wide, high, long = grid.oriented_shape
    xs, ys = zip(*across, strict=True)
    return (
        _enclosing_slice(xs, wide),
        _enclosing_slice(ys, high),
        _enclosing_slice([z, reach], long, beside=BESIDE),
    )


def _enclosing_slice(sides: Sequence[slice], length: int, *, beside: int = 0) -> slice:
    """The one slice around several, a few longer at both ends; all there is where each is empty."""
    some = [side for side in sides if side.stop > side.start]
    if not some:
        return slice(0, length)
    first, last = min(side.start for side in some), max(side.stop for side in some)
    return slice(max(first - beside, 0), min(last + beside, length))


def _difference_areas(seen: Mapping[str, Array]) -> npt.NDArray[np.float64]:
    """Voxels (C, Z) on which the sides differ; of one side, those that it has."""
    sides = list(seen.values())
    differing = np.logical_xor(*sides) if len(sides) == 2 else sides[0]
    return np.asarray(differing.sum(axis=(1, 2)), np.float64)


def _encode_slices(image: Volume, grid: NetworkGrid, box: Box, intensity: Intensity) -> list[str]:
    """Each slice of the box as WebP in base64."""
    import cv2

    voxels = grid.orient(image.voxels)[box]
    grey = np.round(scale_intensities(voxels, intensity.levels(image.voxels)) * 255).astype(np.uint8)
    size, settings = _image_size(grey.shape), [cv2.IMWRITE_WEBP_QUALITY, QUALITY]
    packed = []
    for z in range(grey.shape[2]):
        slice_ = np.ascontiguousarray(grey[..., z].T)
        if size != grey.shape[:2]:
            slice_ = cv2.resize(slice_, size, interpolation=cv2.INTER_AREA)
        packed.append(base64.b64encode(cv2.imencode(".webp", slice_, settings)[1].tobytes()).decode())
    return packed


def slice_numbers(grid: NetworkGrid, source: Sequence[int]) -> list[int]:
    """What slices are called from head to feet: their source numbers, or those of the volume's voxels.

    A volume's slices are counted from 0 along its own axis, which may run to the head.
    """
    shape, axis = grid.native_shape, grid.slice_axis
    along = np.arange(shape[axis]).reshape([-1 if axis == one else 1 for one in range(3)])
    found = grid.orient(np.broadcast_to(along, shape))[0, 0].tolist()
    return [source[index] if source else index for index in found]
