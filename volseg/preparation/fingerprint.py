"""The fingerprint of a prepared scan: its grid, intensities and classes, and a checksum of each slice.

It is measured while a scan is prepared, as its voxels are in memory then. The checks of `volseg prepare`
and `volseg stats` use it without reading a voxel again.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from volseg.data.image_identity import hash_of_checksums, image_checksum, slice_checksum
from volseg.data.layouts.raw_dataset import Mask
from volseg.data.packed_mask import PackedMask
from volseg.data.preprocessing.intensity_scaling import BLANK_SHARE, Levels, Percentiles, count_flattened
from volseg.data.volume import Affine, Array, Volume
from volseg.schema import Section

PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
MANY = 1 << 20  # voxels of which a part tells the ends of the values
STEP = 3  # between the columns and rows of which intensities are taken: percentiles need no more

Point = tuple[float, float, float]


class ChannelFingerprint(Section):
    """Intensities of one channel; slices are along the last axis of the stored voxels.

    `blank` is the value around the body or None, `blank_share` its share of the voxels; `percentiles`
    (PERCENTILES), `mean`, `sd` and `slice_means` are of the other voxels. `prints` are the checksums of the
    slices; `constant` are the slices of one value.
    """

    low: float
    high: float
    blank: float | None
    blank_share: float
    percentiles: tuple[float, ...]
    mean: float
    sd: float
    slice_means: tuple[float, ...]
    constant: tuple[int, ...]
    prints: tuple[str, ...]


class ClassFingerprint(Section):
    """One class of one scan; `areas` are voxels by slice, `prints` the checksums of its labelled slices.

    `centre_mm` is the centre of its voxels, `low_mm` and `high_mm` the corners of its box (RAS+), None for an
    empty mask. `outside` are the voxels in the blank around the body; `flattened` are, by channel, those that
    the default scaling of intensities makes one value, 0 or 1.
    """

    voxels: int
    volume_ml: float
    areas: tuple[int, ...]
    prints: dict[int, str]
    centre_mm: Point | None
    low_mm: Point | None
    high_mm: Point | None
    outside: int
    flattened: tuple[int, ...] = ()


class Fingerprint(Section):
    """One scan. `axes` are its axes' directions, e.g. LPI; `box_mm` the corners of its grid (RAS+).

    `body_mm` is the middle of voxels that are not blank; `overlaps` are the voxels that two classes share.
    """

    shape: tuple[int, int, int]
    spacing_mm: Point
    axes: str
    dtype: str
    box_mm: tuple[Point, Point]
    body_mm: Point
    channels: tuple[ChannelFingerprint, ...]
    organs: dict[str, ClassFingerprint] | None
    overlaps: dict[str, int]

    @property
    def image_hash(self) -> str:
        """The hash of the image, as `image_identity.image_hash` computes it from the voxels."""
        return hash_of_checksums(self.shape, (channel.prints for channel in self.channels))


def measure_scan(
    channels: Sequence[Volume], masks: Mapping[str, Mask] | None, *, exclusive: bool
) -> Fingerprint:
    """The fingerprint of channels (X, Y, Z) on one grid and of a bool mask for each class on the same grid.

    One mask is in memory at a time.
    """
    import nibabel

    image = channels[0]
    shape = np.array(image.voxels.shape)
    intensities = tuple(_measure_channel(channel.voxels) for channel in channels)
    blank = intensities[0].blank
    low, high = _body_bounds(image.voxels, blank)
    scaled = [
        _ScaledChannel(_slices_first(channel.voxels), _default_levels(channel.voxels), measured.low)
        for channel, measured in zip(channels, intensities, strict=True)
        if masks
    ]
    return Fingerprint(
        shape=image.voxels.shape,
        spacing_mm=image.spacing_mm,
        axes="".join(nibabel.orientations.aff2axcodes(image.affine)),
        dtype=image.voxels.dtype.name,
        box_mm=_world_corners(image.affine, -0.5, shape - 0.5),
        body_mm=_to_world(image.affine, (low + high) / 2),
        channels=intensities,
        organs=None
        if masks is None
        else {
            name: _measure_class(mask, image, blank).model_copy(
                update={"flattened": tuple(one.count_flattened(mask) for one in scaled)}
            )
            for name, mask in masks.items()
        },
        overlaps=dict(_count_overlaps(masks) if masks and not exclusive else ()),
    )


def _measure_channel(voxels: Array) -> ChannelFingerprint:
    planes = _slices_first(voxels)
    flat = planes.reshape(len(planes), -1)
    lows, highs = flat.min(axis=1), flat.max(axis=1)
    lowest = float(lows.min())
    samples = np.ascontiguousarray(planes[:, ::STEP, ::STEP]).reshape(len(planes), -1)
    blanks = (samples == lows.min()).sum(axis=1)
    share = float(blanks.sum() / samples.size)
    has_blank = BLANK_SHARE <= share < 1
    body = samples[samples != lows.min()] if has_blank else samples.ravel()
    sums = samples.sum(axis=1, dtype=np.float64)
    counts = np.full(len(planes), samples.shape[1])
    if has_blank:
        sums, counts = sums - blanks * lowest, counts - blanks
    means = np.divide(sums, counts, out=np.full(len(planes), lowest), where=counts > 0)
    return ChannelFingerprint(
        low=lowest,
        high=float(highs.max()),
        blank=lowest if has_blank else None,
        blank_share=share if has_blank else 0.0,
        percentiles=_fast_percentiles(body),
        mean=float(body.mean(dtype=np.float64)),
        sd=float(body.std(dtype=np.float64)),
        slice_means=tuple(np.round(means, 4).tolist()),
        constant=tuple(np.flatnonzero(lows == highs).tolist()),
        prints=tuple(map(image_checksum, planes)),
    )


def _fast_percentiles(values: Array) -> tuple[float, ...]:
    """PERCENTILES of the values, by counting where they have 16 bits, which is faster than sorting."""
    if values.dtype not in (np.uint8, np.uint16):
        return tuple(np.percentile(values, PERCENTILES).tolist())
    cumulative = np.cumsum(np.bincount(values))
    ranks = np.asarray(PERCENTILES) / 100 * (values.size - 1)
    low, high = (np.searchsorted(cumulative, end(ranks), side="right") for end in (np.floor, np.ceil))
    return tuple((low + (ranks - np.floor(ranks)) * (high - low)).tolist())


def _measure_class(mask: Mask, image: Volume, blank: float | None) -> ClassFingerprint:
    planes = _slices_first(mask)
    areas = [int(np.count_nonzero(plane)) for plane in planes]
    voxels = sum(areas)
    labelled = np.flatnonzero(areas)
    points: dict[str, Point | None] = dict.fromkeys(("centre_mm", "low_mm", "high_mm"))
    outside = 0
    if voxels:
        first, last = int(labelled[0]), int(labelled[-1])
        centre, low, high = _centre_and_box(planes[first : last + 1], areas[first : last + 1])
        low[2], high[2], centre[2] = low[2] + first, high[2] + first, centre[2] + first
        corners = _world_corners(image.affine, low - 0.5, high + 0.5)
        points = dict(zip(points, (_to_world(image.affine, centre), *corners), strict=True))
        if blank is not None:
            outside = _voxels_outside_body(planes, _slices_first(image.voxels), labelled.tolist(), blank)
    return ClassFingerprint(
        voxels=voxels,
        volume_ml=voxels * float(np.prod(image.spacing_mm)) / 1000,
        areas=tuple(areas),
        prints={int(z): slice_checksum(planes[z]) for z in labelled},
        outside=outside,
        **points,
    )


class _ScaledChannel(NamedTuple):
    """A channel's slices (Z, Y, X), the levels that the default scaling makes 0 and 1, its lowest value."""

    planes: Array
    levels: Levels
    lowest: float

    def count_flattened(self, mask: Mask) -> int:
        """The voxels of a mask (X, Y, Z) that the default scaling flattens."""
        pairs = zip(self.planes, _slices_first(mask), strict=True)
        return sum(count_flattened(plane[inside], self.levels, self.lowest) for plane, inside in pairs)


def _default_levels(voxels: Array) -> Levels:
    step = STEP if voxels.size > MANY else 1
    return Percentiles().levels(np.ascontiguousarray(_slices_first(voxels)[:, ::step, ::step]))


def _centre_and_box(planes: Array, areas: Sequence[int]) -> tuple[Array, Array, Array]:
    """Centre, first and last voxel (x, y, z) of a mask whose planes are (Z, Y, X)."""
    depths = np.add.reduce(planes.view(np.uint8), axis=0, dtype=np.uint16)  # as many as slices at most
    weights = (depths.sum(axis=0, dtype=int), depths.sum(axis=1, dtype=int), np.asarray(areas))
    centre = [float((weight * np.arange(len(weight))).sum() / weight.sum()) for weight in weights]
    indices = [np.flatnonzero(weight) for weight in weights]
    low, high = ([float(index[end]) for index in indices] for end in (0, -1))
    return np.array(centre), np.array(low), np.array(high)


def _voxels_outside_body(masks: Array, planes: Array, labelled: Sequence[int], blank: float) -> int:
    """The number of voxels of a mask in the blank around the body.

    Gas within the body is blank too, so a blank voxel counts only if a straight line from it to the left,
    right, front or back leaves the slice without meeting the body.
    """
    count = 0
    for z in labelled:
        mask = masks[z] & (planes[z] == blank)
        if mask.any():
            count += int((mask & ~_enclosed_pixels(planes[z] != blank)).sum())
    return count


def _enclosed_pixels(body: Mask) -> Mask:
    """Pixels with the body on all four sides (or in it)."""
    sides = [
        np.logical_or.accumulate(body[::rows, ::columns], axis=axis)[::rows, ::columns]
        for axis, rows, columns in ((0, 1, 1), (0, -1, 1), (1, 1, 1), (1, 1, -1))
    ]
    return np.asarray(np.logical_and.reduce(sides))


def _count_overlaps(masks: Mapping[str, Mask]) -> Iterator[tuple[str, int]]:
    packed = {name: PackedMask.from_mask(mask) for name, mask in masks.items()}
    for (name, mask), (other, other_mask) in combinations(packed.items(), 2):
        yield f"{name} & {other}", mask.count_shared(other_mask)


def _body_bounds(voxels: Array, blank: float | None) -> tuple[Array, Array]:
    """First and last voxel (x, y, z) that is not blank, to STEP voxels in x and y."""
    if blank is None:
        return np.zeros(3), np.array(voxels.shape) - 1.0
    body = voxels[::STEP, ::STEP] != blank
    indices = [np.flatnonzero(body.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    low, high = (np.array([float(index[end]) for index in indices]) * (STEP, STEP, 1) for end in (0, -1))
    return low, high


def _slices_first(voxels: Array) -> Array:
    """Slices (Z, Y, X) in memory order; a view of voxels as layouts read them."""
    return np.ascontiguousarray(voxels.T)


def _to_world(affine: Affine, voxel: Array) -> Point:
    x, y, z = (affine[:3, :3] @ voxel + affine[:3, 3]).tolist()
    return round(x, 3), round(y, 3), round(z, 3)


def _world_corners(affine: Affine, low: "Array | float", high: Array) -> tuple[Point, Point]:
    """Lowest and highest corner (RAS+ mm) of a box given by voxel borders."""
    grid = np.array(np.meshgrid(*zip(np.broadcast_to(low, 3), high, strict=True))).reshape(3, -1)
    world = affine[:3, :3] @ grid + affine[:3, 3:]
    (a, b, c), (d, e, f) = world.min(axis=1).round(3).tolist(), world.max(axis=1).round(3).tolist()
    return (a, b, c), (d, e, f)
