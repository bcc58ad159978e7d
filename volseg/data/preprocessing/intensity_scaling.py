"""Intensity scaling of a channel to [0, 1]."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from volseg.data.volume import Array
from volseg.errors import UserError
from volseg.schema import NamedUnion, Section

Levels = tuple[float, float]
_COUNTED = (np.uint8, np.uint16, np.int8, np.int16)
NEAR = 0.05
FLAT = 0.1  # of a class's voxels: so many that scaling makes one value are told
BLANK_SHARE = 0.2  # of the voxels has one value, if that is the scanner's blank around the body
AT_ONCE = 1 << 22  # voxels in work at a time, so that a large scan needs no second copy of itself


class _Scaling(Section):
    """A scaling by two values in order."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high (got {self.low} and {self.high})")
        return self


class Percentiles(_Scaling):
    """Scale so that these percentiles of the body's voxels (above the blank) become 0 and 1, and clip.

    More than half of an MR scan is exact zeros whose share follows the field of view, so they are
    left out. Where no value is the blank's, all voxels count. Of the whole volume, never of a patch.
    """

    name: Literal["percentiles"] = "percentiles"
    low: float = Field(default=0.5, ge=0, lt=100)
    high: float = Field(default=99.5, gt=0, le=100)

    def levels(self, voxels: Array) -> Levels:
        """The values of voxels (X, Y, Z), in their own unit, that become 0 and 1."""
        if voxels.dtype in _COUNTED:
            return _counted_percentiles(voxels, (self.low, self.high))
        lowest = np.fmin.reduce([np.fmin.reduce(part) for part in _voxel_blocks(voxels)])
        at_lowest, zeros = (
            sum(int(np.count_nonzero(part == value)) for part in _voxel_blocks(voxels))
            for value in (lowest, 0)
        )
        blank = _blank_value(lowest, at_lowest, zeros, voxels.size)
        if blank is None:
            low, high = np.percentile(voxels, (self.low, self.high))
        else:
            body = np.concatenate([part[part != blank] for part in _voxel_blocks(voxels)])
            low, high = np.percentile(body, (self.low, self.high), overwrite_input=True)
        return float(low), float(high)


class Window(_Scaling):
    """Scale a fixed window of values to [0, 1] and clip: for CT, whose units are absolute."""

    name: Literal["window"] = "window"

    def levels(self, _: Array) -> Levels:
        """The values that become 0 and 1, whatever the voxels."""
        return self.low, self.high


Intensity = Annotated[Percentiles | Window, NamedUnion()]


def scale_intensities(voxels: Array, levels: Levels) -> npt.NDArray[np.float32]:
    """Voxels as float32 in the same shape, scaled and clipped such that the levels are 0 and 1.

    Raises:
        UserError: voxels that are no numbers.
    """
    low, high = levels
    values = voxels.astype(np.float32)
    values -= low
    values /= (high - low) or 1.0
    if voxels.dtype.kind == "f" and not np.isfinite(values).all():
        raise UserError("the image holds NaN or infinite voxels; replace them by the background's value")
    return np.clip(values, 0, 1, out=values)


def count_flattened(values: Array, levels: Levels, lowest: float) -> int:
    """The values of a class that scaling makes 0 or 1 though they differ.

    The tail of a bright class counts only as far as it lies beyond the levels by a share NEAR of their range,
    unless it is most of the class. The lowest value of the image does not count: what has it, such as gas or
    the blank, is one value already.
    """
    low, high = levels
    near = NEAR * (high - low)
    beyond = values[(values > high) | ((values < low) & (values != lowest))]
    if 2 * beyond.size > values.size:
        return int(beyond.size)
    return int(np.count_nonzero((beyond > high + near) | (beyond < low - near)))


def _voxel_blocks(voxels: Array) -> Iterator[Array]:
    """All voxels in blocks, in the order in which they lie in memory."""
    flat = voxels.ravel(order="K") if voxels.flags.forc else voxels.reshape(-1)
    for begun in range(0, flat.size, AT_ONCE):
        yield flat[begun : begun + AT_ONCE]


def _blank_value(lowest: float, at_lowest: int, zeros: int, voxels: int) -> float | None:
    """The value of the blank around the body, which has at least BLANK_SHARE of the voxels; None for none.

    It is the lowest, or 0 within values of both signs, as where a body was normalised or resampled. In an
    image without negative values 0 is the blank, however few have it.
    """
    if at_lowest < voxels and (lowest == 0 or at_lowest >= BLANK_SHARE * voxels):
        return lowest
    return 0 if lowest < 0 and BLANK_SHARE * voxels <= zeros < voxels else None


def _counted_percentiles(voxels: Array, percents: Levels) -> Levels:
    """Numpy's percentiles of all voxels but the blank, by counting: faster than sorting, without a copy."""
    least = int(np.iinfo(voxels.dtype).min)
    counts = np.zeros(1 << 16, np.int64)
    for part in _voxel_blocks(voxels):
        shifted = part if least == 0 else part.astype(np.int32) - least
        counts += np.bincount(shifted, minlength=counts.size)
    first = int(np.flatnonzero(counts)[0])
    blank = _blank_value(first + least, int(counts[first]), int(counts[-least]), voxels.size)
    if blank is not None:
        counts[int(blank) - least] = 0
    cumulative = counts.cumsum()
    last = int(cumulative[-1]) - 1
    low, high = (least + _value_at_rank(cumulative, last * percent / 100) for percent in percents)
    return low, high


def _value_at_rank(cumulative: npt.NDArray[np.int64], rank: float) -> float:
    """The value at a rank of sorted numbers, or between two; `cumulative` has the counts up to each value."""
    ranks = int(rank), min(int(rank) + 1, int(cumulative[-1]) - 1)
    first, second = np.searchsorted(cumulative, ranks, side="right").tolist()
    return float(first + (second - first) * (rank % 1))
