"""From the fingerprints of a dataset's scans to its statistics, without reading a voxel."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from volseg.data.dataset import DatasetInfo
from volseg.data.distribution import Spread
from volseg.preparation.fingerprint import Fingerprint, Point
from volseg.stats.dataset_stats import (
    Along,
    ClassStats,
    DatasetStats,
    DayVolumeStats,
    ExtentStats,
    GridCount,
    GridStats,
    IntensityStats,
    OverlapStats,
    SliceStats,
)
from volseg.stats.scan_stats import AXES, LEVELS, ScanStats, pair_name, summarise_scan


def aggregate_fingerprints(facts: DatasetInfo, prints: Sequence[Fingerprint]) -> DatasetStats:
    """The statistics of a dataset of one scan at least; a fingerprint a sample, in their order."""
    pairs = zip(facts.samples, prints, strict=True)
    scans = tuple(summarise_scan(sample, one, facts) for sample, one in pairs)
    kept = [scan for scan in scans if not scan.excluded]
    labelled = [scan for scan in scans if scan.in_class_stats]
    return DatasetStats(
        name=facts.name,
        layout=facts.layout,
        classes=facts.classes,
        exclusive=facts.exclusive,
        channels=facts.channels,
        cases=len({scan.case for scan in scans}),
        train=sum(scan.part == "train" for scan in scans),
        test=sum(scan.part == "test" for scan in scans),
        labelled=len(labelled),
        excluded=tuple(scan.name for scan in scans if scan.excluded),
        sizes=_grid_stats(scans),
        intensities={name: _intensity_stats(name, kept) for name in facts.channels if kept},
        organs={name: _class_stats(name, labelled) for name in facts.classes if labelled},
        extent_mm=_spread_or_none([scan.extent_mm for scan in labelled if scan.extent_mm]),
        slices=_slice_stats(labelled),
        overlaps=tuple(_overlap_stats(facts.classes, labelled)),
        scans=scans,
    )


def _grid_stats(scans: Sequence[ScanStats]) -> GridStats:
    grids = Counter((scan.shape, scan.spacing_mm) for scan in scans)
    by_case = defaultdict(set)
    for scan in scans:
        by_case[scan.case].add((scan.shape, scan.spacing_mm))
    voxels = [_along_patient_axes(scan, scan.shape) for scan in scans]
    spacings = [_along_patient_axes(scan, scan.spacing_mm) for scan in scans]
    sizes = np.multiply(voxels, spacings).tolist()
    return GridStats(
        grids=tuple(
            GridCount(shape=shape, spacing_mm=spacing, scans=count)
            for (shape, spacing), count in sorted(grids.items(), key=lambda one: (-one[1], one[0]))
        ),
        changing=tuple(case for case, kinds in by_case.items() if len(kinds) > 1),
        voxels=_spread_by_axis(voxels),
        spacing_mm=_spread_by_axis(spacings),
        size_mm=_spread_by_axis(sizes),
        dtypes=dict(Counter(scan.dtype for scan in scans).most_common()),
        axes=dict(Counter(scan.axes for scan in scans).most_common()),
    )


def _along_patient_axes(scan: ScanStats, values: Sequence[float]) -> list[float]:
    """What stands along the voxel axes, along the patient's AXES."""
    return [values[axis] for axis in scan.axis_order]


def _spread_by_axis(rows: Sequence[Sequence[float]]) -> Along:
    x, y, z = (Spread.from_values(row[axis] for row in rows) for axis in range(len(AXES)))
    return x, y, z


def _spread_or_none(rows: Sequence[Point]) -> Along | None:
    return _spread_by_axis(rows) if rows else None


def _intensity_stats(name: str, scans: Sequence[ScanStats]) -> IntensityStats:
    return IntensityStats(
        levels={
            level: Spread.from_values(scan.intensities[name][level] for scan in scans) for level in LEVELS
        },
        blank_share=Spread.from_values(scan.blank_share[name] for scan in scans),
    )


def _class_stats(name: str, scans: Sequence[ScanStats]) -> ClassStats:
    places = [place for scan in scans if (place := scan.class_extent(name))]
    return ClassStats(
        scans=len(places),
        slice_share=sum(place.slices for place in places) / sum(scan.slice_count for scan in scans),
        where=ExtentStats(
            volume_ml=Spread.from_values(place.volume_ml for place in places),
            top_mm=Spread.from_values(place.top_mm for place in places),
            bottom_mm=Spread.from_values(place.bottom_mm for place in places),
            extent_mm=_spread_by_axis([place.extent_mm for place in places]),
        )
        if places
        else None,
        days=_day_volume_stats(name, scans),
    )


def _day_volume_stats(name: str, scans: Sequence[ScanStats]) -> DayVolumeStats | None:
    by_case = _volumes_by_case(name, scans)
    some = [[one for one in volumes if one] for volumes in by_case.values()]
    several = [np.array(volumes) for volumes in some if len(volumes) > 1]
    if not several:
        return None
    return DayVolumeStats(
        ratio=Spread.from_values(one.max() / one.min() for one in several),
        variation=Spread.from_values(one.std(ddof=1) / one.mean() for one in several),
        on_some_days=sum(any(one) and not all(one) for one in by_case.values()),
    )


def _volumes_by_case(name: str, scans: Iterable[ScanStats]) -> dict[str, list[float]]:
    """The volume of a class in ml on each labelled day of each case, 0 where it is not there."""
    found = defaultdict(list)
    for scan in scans:
        if scan.in_class_stats:
            place = scan.class_extent(name)
            found[scan.case].append(place.volume_ml if place else 0.0)
    return found


def _slice_stats(scans: Sequence[ScanStats]) -> SliceStats | None:
    if not scans:
        return None
    empty = [scan.empty_slices or 0 for scan in scans]
    shares = (none / scan.slice_count for none, scan in zip(empty, scans, strict=True))
    return SliceStats(
        count=sum(scan.slice_count for scan in scans),
        empty=sum(empty),
        empty_share=Spread.from_values(shares),
    )


def _overlap_stats(classes: Sequence[str], scans: Sequence[ScanStats]) -> Iterator[OverlapStats]:
    for one, other in combinations(classes, 2):
        name = pair_name(one, other)
        shares = [scan.overlaps[name] for scan in scans if name in scan.overlaps]
        if shares:
            yield OverlapStats(one=one, other=other, share=Spread.from_values(shares))
