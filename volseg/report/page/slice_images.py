"""A scan to scroll through, as JSON: slices as small pictures, masks as outlines, and their differences."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from volseg.arrays import Box, bounding_box
from volseg.data.preprocessing.body_box import body_box
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.intensity_scaling import Intensity, scale_intensities
from volseg.data.volume import Array, Volume
from volseg.inference.scan_images import ScanImages, SliceRanges
from volseg.report.page.outlines import PARTS, mask_outline, stacked_area_paths

QUALITY = 60  # of WebP: a third smaller than JPEG that looks alike
LARGEST = 320  # pixels along a side; larger slices are shown smaller
AROUND_MM = 5.0
BESIDE = 4  # slices that are shown above the first and below the last with a mask


def encode_scan(scan: ScanImages, intensity: Intensity) -> str:
    """The scan as JSON, for the page's script: slices from head to feet, each as a reader sees it.

    `numbers` are the numbers of the slices, `check` ranges of them; `images` are WebP in base64, empty
    without an image; `lines` are paths by side, class and slice. The other fields are described at
    `_frame_geometry` and `_difference_profile`.
    """
    grid = NetworkGrid.from_volume(scan.geometry, None)
    sides = {"prediction": scan.prediction} | ({} if scan.labels is None else {"truth": scan.labels})
    oriented = {name: np.stack([grid.orient(mask) for mask in masks]) for name, masks in sides.items()}
    numbers = slice_numbers(grid, scan.numbers)
    box = _crop_box(oriented, scan.image, grid, _slice_span(numbers, [*scan.check, *scan.must_show]))
    cropped = {name: masks[(slice(None), *box)] for name, masks in oriented.items()}
    values = {
        **_frame_geometry(cropped["prediction"].shape, grid),
        "numbers": numbers[box[2]],
        "check": [list(ends) for ends in scan.check],
        "images": [] if scan.image is None else _encode_slices(scan.image, grid, box, intensity),
        "lines": {name: [_slice_outlines(mask) for mask in masks] for name, masks in cropped.items()},
        **_difference_profile(cropped, grid),
    }
    return json.dumps(values, separators=(",", ":"))


def _frame_geometry(shape: Sequence[int], grid: NetworkGrid) -> dict[str, Any]:
    """Of masks (C, X, Y, Z): `mm` wide and high, `width` in pixels, and `scale` from lines' units to mm."""
    pixels = _image_size(shape[1:])
    mm = [count * spacing for count, spacing in zip(shape[1:3], grid.oriented_mm, strict=False)]
    return {
        "mm": [round(side, 2) for side in mm],
        "width": pixels[0],
        "scale": [side / count / PARTS for side, count in zip(mm, pixels, strict=True)],
    }


def _slice_outlines(mask: Array) -> list[str]:
    """A path for each slice of a mask (X, Y, Z)."""
    size = _image_size(mask.shape)
    return [mask_outline(mask[..., z], size) for z in range(mask.shape[2])]


def _difference_profile(sides: Mapping[str, Array], grid: NetworkGrid) -> dict[str, Any]:
    """The area that differs by slice, as the paths of a `profile`, and where it is largest.

    `labelled` are the first and last slice with labels: beyond them classes may go on, so what differs
    there need be no error. Between them `most_cm2` differ on the slice `first`. Without labels the areas
    are those of the prediction.
    """
    x, y, _ = grid.oriented_mm
    masks = sides.get("truth", sides["prediction"])
    differing = masks if masks is sides["prediction"] else masks ^ sides["prediction"]
    areas = differing.sum(axis=(1, 2)) * x * y / 100  # cm² (C, Z)
    marked = np.flatnonzero(masks.any(axis=(0, 1, 2)))
    first, last = (int(marked[0]), int(marked[-1])) if marked.size else (0, masks.shape[3] - 1)
    inside = areas[:, first : last + 1].sum(axis=0)
    most = float(inside.max())
    return {
        "labelled": [first, last],
        "profile": stacked_area_paths(areas, 100, most=most),
        "most_cm2": round(most, 1),
        "first": first + int(inside.argmax()),
    }


def _image_size(shape: Sequence[int]) -> tuple[int, int]:
    """Width and height in pixels of slices (X, Y, Z)."""
    share = min(1.0, LARGEST / max(shape[:2]))
    return max(1, round(shape[0] * share)), max(1, round(shape[1] * share))


def _slice_span(numbers: Sequence[int], ranges: SliceRanges) -> slice:
    """From the first to the last slice of some ranges; empty where there are none."""
    ends = [numbers.index(end) for pair in ranges for end in pair if end in numbers]
    return slice(min(ends), max(ends) + 1) if ends else slice(0, 0)


def _crop_box(sides: Mapping[str, Array], image: Volume | None, grid: NetworkGrid, span: slice) -> Box:
    """The body and all masks; from head to feet slices with masks, those of the span, and a few beside."""
    x, y, z = bounding_box(np.any([masks.any(axis=0) for masks in sides.values()], axis=0))
    across = [(x, y)]
    if image is not None:
        body = body_box([grid.orient(image.voxels)], grid.oriented_mm, margin_mm=AROUND_MM)
        across.append(body[:2])
    width, height, slices = grid.oriented_shape
    xs, ys = zip(*across, strict=True)
    return (
        _enclosing_slice(xs, width),
        _enclosing_slice(ys, height),
        _enclosing_slice([z, span], slices, beside=BESIDE),
    )


def _enclosing_slice(parts: Sequence[slice], length: int, *, beside: int = 0) -> slice:
    """The slice around several, a few longer at both ends; the full length where each is empty."""
    some = [part for part in parts if part.stop > part.start]
    if not some:
        return slice(0, length)
    first, last = min(part.start for part in some), max(part.stop for part in some)
    return slice(max(first - beside, 0), min(last + beside, length))


def _encode_slices(image: Volume, grid: NetworkGrid, box: Box, intensity: Intensity) -> list[str]:
    """Each slice of the box as WebP in base64."""
    import cv2

    voxels = grid.orient(image.voxels)[box]
    grey = np.round(scale_intensities(voxels, intensity.levels(image.voxels)) * 255).astype(np.uint8)
    size = _image_size(grey.shape)
    encoded = []
    for z in range(grey.shape[2]):
        pixels = np.ascontiguousarray(grey[..., z].T)
        if size != grey.shape[:2]:
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
        encoded.append(base64.b64encode(data.tobytes()).decode())
    return encoded


def slice_numbers(grid: NetworkGrid, source: Sequence[int]) -> list[int]:
    """Numbers of the slices from head to feet: their source numbers, or those of the volume's voxels.

    A volume's slices are counted from 0 along its own axis, which may run to the head.
    """
    shape, axis = grid.native_shape, grid.slice_axis
    along = np.arange(shape[axis]).reshape([-1 if axis == other else 1 for other in range(3)])
    indices: list[int] = grid.orient(np.broadcast_to(along, shape))[0, 0].tolist()
    return [source[index] if source else index for index in indices]
