"""Voxels of any type as the 16-bit grey values of a PNG, with scale and offset back."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from volseg.data.volume import Array
from volseg.errors import UserError

MOST = 65_535


class GreyImage(NamedTuple):
    """Grey values (X, Y, Z) such that `voxel = grey * scale + offset`, to half a `scale` if `rounded`."""

    values: npt.NDArray[np.uint16]
    scale: float = 1
    offset: float = 0
    rounded: bool = False


def to_grey(voxels: Array, *, rescale: bool = False) -> GreyImage:
    """Grey values of voxels (X, Y, Z): whole numbers, less an offset where some are negative or too large.

    With `rescale` all other voxels are mapped linearly from their range to 0 ... 65,535.

    Raises:
        UserError: voxels that are no numbers, or without `rescale` fractions or too wide a range.
    """
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise UserError("holds NaN or infinite voxels; replace them by the background's value")
    low, high = voxels.min().item(), voxels.max().item()
    integral = voxels.dtype.kind != "f" or bool((voxels == np.floor(voxels)).all())
    if integral and high - low <= MOST:
        return _subtract_offset(voxels, 0 if low >= 0 and high <= MOST else int(low))
    if rescale and math.isfinite(high - low):
        return _rescale_range(voxels, float(low), float(high))
    kind = "values" if integral else "fractions"
    raise UserError(
        f"holds {kind} from {low:g} to {high:g}, but a PNG holds 65,536 whole numbers; "
        "pass --rescale to round them to so many steps"
    )


def _subtract_offset(voxels: Array, offset: int) -> GreyImage:
    if voxels.dtype.kind == "f":
        return GreyImage((voxels.astype(np.float64) - offset).astype(np.uint16), 1, offset)
    # The difference fits 16 bits, so it is right though both terms are cut to 16 bits.
    return GreyImage(voxels.astype(np.uint16) - np.uint16(offset % (MOST + 1)), 1, offset)


def _rescale_range(voxels: Array, low: float, high: float) -> GreyImage:
    scale = high / MOST - low / MOST or 1.0  # a single value is the offset
    values = np.rint((voxels.astype(np.float64) - low) / scale)
    return GreyImage(np.clip(values, 0, MOST).astype(np.uint16), scale, low, rounded=True)
