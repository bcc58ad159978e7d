"""One scan in the numbers that people ask for: its grid, intensities, classes, and where they lie."""

from collections.abc import Iterable, Iterator, Mapping
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
"""Levels of a scan's intensities: the ends of all its voxels, percentiles of the body's."""


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
    in it. `extent_mm` is the size of the box around all classes, `empty_slices` counts the slices that
    show none. `overlaps` is the part that two classes share, as a share of the smaller one.
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
        """Whether the statistics of classes include it: it has labels and is not excluded."""
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
        """A class of this scan; None where the scan does not have it."""
        return (self.organs or {}).get(name)


def summarise_scan(sample: Sample, fingerprint: Fingerprint, info: DatasetInfo) -> ScanStats:
    """The statistics of a scan; whether it is excluded is the dataset's to say."""
    classes = fingerprint.organs and {name: fingerprint.organs[name] for name in info.classes}
    head_mm = fingerprint.box_mm[1][2]
    channels = dict(zip(info.channels, fingerprint.channels, strict=True))
    return ScanStats(
        **sample.model_dump(include={"name", "case", "day", "part", "excluded"}),
        **fingerprint.model_dump(include={"shape", "spacing_mm", "axes", "dtype"}),
        intensities={name: _intensity_levels(channel) for name, channel in channels.items()},
        blank_share={name: channel.blank_share for name, channel in channels.items()},
        organs=classes and {name: _measure_extent(class_, head_mm) for name, class_ in classes.items()},
        extent_mm=_box_size((classes or {}).values()),
        empty_slices=None if classes is None else _count_empty_slices(classes, fingerprint.shape[2]),
        overlaps=dict(_overlap_shares(fingerprint.overlaps, classes or {})),
    )


def pair_name(one: str, other: str) -> str:
    """The name under which two classes share voxels."""
    return f"{one} & {other}"


def _intensity_levels(channel: ChannelFingerprint) -> dict[str, float]:
    values = (channel.low, *channel.percentiles, channel.high)
    return dict(zip(LEVELS, values, strict=True))


def _measure_extent(class_: ClassFingerprint, head_mm: float) -> ClassExtent | None:
    """The extent of a class in a scan whose head end is at this height; None where it has no voxel."""
    if class_.low_mm is None or class_.high_mm is None:
        return None
    return ClassExtent(
        volume_ml=class_.volume_ml,
        slices=sum(area > 0 for area in class_.areas),
        top_mm=round(head_mm - class_.high_mm[2], 3),
        bottom_mm=round(head_mm - class_.low_mm[2], 3),
        extent_mm=_size_mm(class_.low_mm, class_.high_mm),
    )


def _box_size(classes: Iterable[ClassFingerprint]) -> Point | None:
    """The size in mm of the box around all classes."""
    ends = [(class_.low_mm, class_.high_mm) for class_ in classes if class_.low_mm and class_.high_mm]
    if not ends:
        return None
    lows, highs = (zip(*corners, strict=True) for corners in zip(*ends, strict=True))
    return _size_mm(map(min, lows), map(max, highs))


def _size_mm(low: Iterable[float], high: Iterable[float]) -> Point:
    x, y, z = (round(end - start, 3) for start, end in zip(low, high, strict=True))
    return x, y, z


def _count_empty_slices(classes: Mapping[str, ClassFingerprint], slices: int) -> int:
    return slices - sum(map(any, zip(*(class_.areas for class_ in classes.values()), strict=True)))


def _overlap_shares(
    shared: Mapping[str, int], classes: Mapping[str, ClassFingerprint]
) -> Iterator[tuple[str, float]]:
    """The voxels that two classes share, as a share of the smaller one, of each two that a scan has."""
    for one, other in combinations(classes, 2):
        name, smaller = pair_name(one, other), min(classes[one].voxels, classes[other].voxels)
        if name in shared and smaller:
            yield name, shared[name] / smaller
