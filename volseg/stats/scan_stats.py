"""One scan in the numbers that people ask for: its grid, intensities, organs, and where they lie."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Literal

from volseg.data.dataset import DatasetInfo, Sample
from volseg.preparation.fingerprint import (
    PERCENTILES,
    ChannelFingerprint,
    ClassFingerprint,
    Fingerprint,
    Point,
)
from volseg.schema import Section

AXES = ("left-right", "front-back", "head-foot")
"""The patient's axes, in the order in which the network's grid has them."""
_ENDS = ("LR", "AP", "SI")
LEVELS = ("low", *(f"p{level:g}" for level in PERCENTILES), "high")
"""What is known of a scan's intensities: the ends of all its voxels, percentiles of the body's."""


class ClassExtent(Section):
    """One class of one scan: how large it is and where it lies.

    `slices` counts those that show it. `top_mm` and `bottom_mm` are the distances of its ends from the
    head end of the scan, `extent_mm` the size of its box along the patient's AXES.
    """

    volume_ml: float
    slices: int
    top_mm: float
    bottom_mm: float
    extent_mm: Point


class ScanStats(Section):
    """One scan. `shape` and `spacing_mm` are along its voxel axes, which run to `axes` (e.g. LPI).

    `intensities` has a value for each of LEVELS by channel; `blank_share` is the share of voxels in the
    blank around the body. `organs` is None for a scan without labels, and None for a class that is not
    in it. `extent_mm` is the size of the box around all organs, `empty_slices` counts the slices that
    show none. `overlaps` is what two classes share, as a share of the smaller one.
    """

    name: str
    case: str
    day: int
    part: Literal["train", "test"]
    excluded: bool
    shape: tuple[int, int, int]
    spacing_mm: Point
    axes: str
    dtype: str
    intensities: dict[str, dict[str, float]]
    blank_share: dict[str, float]
    organs: dict[str, ClassExtent | None] | None
    extent_mm: Point | None
    empty_slices: int | None
    overlaps: dict[str, float]

    @property
    def in_class_stats(self) -> bool:
        """Whether it has a say in the statistics of organs."""
        return not self.excluded and self.organs is not None

    @property
    def slice_count(self) -> int:
        """Slices as they are stored, along the last voxel axis."""
        return self.shape[2]

    @property
    def axis_order(self) -> tuple[int, int, int]:
        """The voxel axis that runs along each of the patient's AXES."""
        x, y, z = (next(i for i, end in enumerate(self.axes) if end in ends) for ends in _ENDS)
        return x, y, z

    def class_extent(self, name: str) -> ClassExtent | None:
        """A class of this scan, where it has it."""
        return (self.organs or {}).get(name)


def summarise_scan(sample: Sample, print_: Fingerprint, facts: DatasetInfo) -> ScanStats:
    """The facts of one scan; whether it is excluded is the dataset's to say."""
    organs = print_.organs
    named = dict(zip(facts.channels, print_.channels, strict=True))
    return ScanStats(
        name=sample.name,
        case=sample.case,
        day=sample.day,
        part=sample.part,
        excluded=sample.excluded,
        shape=print_.shape,
        spacing_mm=print_.spacing_mm,
        axes=print_.axes,
        dtype=print_.dtype,
        intensities={name: _intensity_levels(channel) for name, channel in named.items()},
        blank_share={name: channel.blank_share for name, channel in named.items()},
        organs=None
        if organs is None
        else {name: _measure_extent(organs[name], print_.box_mm[1][2]) for name in facts.classes},
        extent_mm=_box_size(organs.values() if organs else ()),
        empty_slices=None if organs is None else _count_empty_slices(organs, print_.shape[2]),
        overlaps=dict(_overlap_shares(print_, facts.classes)),
    )


def pair_name(one: str, other: str) -> str:
    """The name under which two classes share voxels."""
    return f"{one} & {other}"


def _intensity_levels(channel: ChannelFingerprint) -> dict[str, float]:
    values = (channel.low, *channel.percentiles, channel.high)
    return dict(zip(LEVELS, values, strict=True))


def _measure_extent(organ: ClassFingerprint, head_mm: float) -> ClassExtent | None:
    """Where a class lies in a scan whose head end is at this height; None where it has no voxel."""
    if organ.low_mm is None or organ.high_mm is None:
        return None
    return ClassExtent(
        volume_ml=organ.volume_ml,
        slices=sum(area > 0 for area in organ.areas),
        top_mm=round(head_mm - organ.high_mm[2], 3),
        bottom_mm=round(head_mm - organ.low_mm[2], 3),
        extent_mm=_size_mm(organ.low_mm, organ.high_mm),
    )


def _box_size(organs: Iterable[ClassFingerprint]) -> Point | None:
    """The size in mm of the box around all organs."""
    ends = [(one.low_mm, one.high_mm) for one in organs if one.low_mm and one.high_mm]
    if not ends:
        return None
    lows, highs = zip(*ends, strict=True)
    low, high = (map(end, zip(*rows, strict=True)) for end, rows in ((min, lows), (max, highs)))
    return _size_mm(low, high)


def _size_mm(low: Iterable[float], high: Iterable[float]) -> Point:
    x, y, z = (round(end - start, 3) for start, end in zip(low, high, strict=True))
    return x, y, z


def _count_empty_slices(organs: Mapping[str, ClassFingerprint], slices: int) -> int:
    return slices - sum(any(areas) for areas in zip(*(one.areas for one in organs.values()), strict=True))


def _overlap_shares(print_: Fingerprint, classes: Iterable[str]) -> Iterable[tuple[str, float]]:
    """Of each two classes that a scan has both, what they share, as a share of the smaller one."""
    for one, other in combinations(classes, 2):
        shared = print_.overlaps.get(pair_name(one, other))
        if shared is not None and print_.organs:
            smaller = min(print_.organs[one].voxels, print_.organs[other].voxels)
            if smaller:
                yield pair_name(one, other), shared / smaller
