"""From the fingerprints of a dataset's scans to its statistics, without reading a voxel."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from volseg.data.dataset import Facts
from volseg.data.distribution import Spread
from volseg.preparation.fingerprint import Fingerprint, Point
from volseg.stats.dataset_stats import (
    Along,
    Channel,
    Class,
    Days,
    GridCount,
    Overlap,
    Sizes,
    Slices,
    Statistics,
    Where,
)
from volseg.stats.scan_stats import AXES, LEVELS, ScanFacts, of_scan, pair


def statistics(facts: Facts, prints: Sequence[Fingerprint]) -> Statistics:
    """The statistics of a dataset of one scan at least; a fingerprint a sample, in their order."""
    pairs = zip(facts.samples, prints, strict=True)
    scans = tuple(of_scan(sample, one, facts) for sample, one in pairs)
    kept = [scan for scan in scans if not scan.excluded]
    labelled = [scan for scan in scans if scan.counted]
    return Statistics(
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
        sizes=_sizes(scans),
        intensities={name: _channel(name, kept) for name in facts.channels if kept},
        organs={name: _class(name, labelled) for name in facts.classes if labelled},
        extent_mm=_along([scan.extent_mm for scan in labelled if scan.extent_mm]),
        slices=_slices(labelled),
        overlaps=tuple(_overlaps(facts.classes, labelled)),
        scans=scans,
    )


def _sizes(scans: Sequence[ScanFacts]) -> Sizes:
    grids = Counter((scan.shape, scan.spacing_mm) for scan in scans)
    by_case = defaultdict(set)
    for scan in scans:
        by_case[scan.case].add((scan.shape, scan.spacing_mm))
    voxels = [_turned(scan, scan.shape) for scan in scans]
    spacings = [_turned(scan, scan.spacing_mm) for scan in scans]
    sizes = np.multiply(voxels, spacings).tolist()
    return Sizes(
        grids=tuple(
            GridCount(shape=shape, spacing_mm=spacing, scans=count)
            for (shape, spacing), count in sorted(grids.items(), key=lambda one: (-one[1], one[0]))
        ),
        changing=tuple(case for case, kinds in by_case.items() if len(kinds) > 1),
        voxels=_each_axis(voxels),
        spacing_mm=_each_axis(spacings),
        size_mm=_each_axis(sizes),
        dtypes=dict(Counter(scan.dtype for scan in scans).most_common()),
        axes=dict(Counter(scan.axes for scan in scans).most_common()),
    )


def _turned(scan: ScanFacts, values: Sequence[float]) -> list[float]:
    """What stands along the voxel axes, along the patient's AXES."""
    return [values[axis] for axis in scan.along]


def _each_axis(rows: Sequence[Sequence[float]]) -> Along:
    x, y, z = (Spread.of(row[axis] for row in rows) for axis in range(len(AXES)))
    return x, y, z


def _along(rows: Sequence[Point]) -> Along | None:
    return _each_axis(rows) if rows else None


def _channel(name: str, scans: Sequence[ScanFacts]) -> Channel:
    return Channel(
        levels={
            level: Spread.of(scan.intensities[name][level] for scan in scans) for level in LEVELS
        },
        blank_share=Spread.of(scan.blank_share[name] for scan in scans),
    )


def _class(name: str, scans: Sequence[ScanFacts]) -> Class:
    places = [place for scan in scans if (place := scan.place(name))]
    return Class(
        scans=len(places),
        slice_share=sum(place.slices for place in places) / sum(scan.slices for scan in scans),
        where=Where(
            volume_ml=Spread.of(place.volume_ml for place in places),
            top_mm=Spread.of(place.top_mm for place in places),
            bottom_mm=Spread.of(place.bottom_mm for place in places),
            extent_mm=_each_axis([place.extent_mm for place in places]),
        )
        if places
        else None,
        days=_days(name, scans),
    )


def _days(name: str, scans: Sequence[ScanFacts]) -> Days | None:
    by_case = _volumes_by_case(name, scans)
    some = [[one for one in volumes if one] for volumes in by_case.values()]
    several = [np.array(volumes) for volumes in some if len(volumes) > 1]
    if not several:
        return None
    return Days(
        ratio=Spread.of(one.max() / one.min() for one in several),
        variation=Spread.of(one.std(ddof=1) / one.mean() for one in several),
        on_some_days=sum(any(one) and not all(one) for one in by_case.values()),
    )


def _volumes_by_case(name: str, scans: Iterable[ScanFacts]) -> dict[str, list[float]]:
    """The volume of a class in ml on each labelled day of each case, 0 where it is not there."""
    found = defaultdict(list)
    for scan in scans:
        if scan.counted:
            place = scan.place(name)
            found[scan.case].append(place.volume_ml if place else 0.0)
    return found


def _slices(scans: Sequence[ScanFacts]) -> Slices | None:
    if not scans:
        return None
    empty = [scan.empty_slices or 0 for scan in scans]
    shares = (none / scan.slices for none, scan in zip(empty, scans, strict=True))
    return Slices(
        count=sum(scan.slices for scan in scans), empty=sum(empty), empty_share=Spread.of(shares)
    )


def _overlaps(classes: Sequence[str], scans: Sequence[ScanFacts]) -> Iterator[Overlap]:
    for one, other in combinations(classes, 2):
        name = pair(one, other)
        shares = [scan.overlaps[name] for scan in scans if name in scan.overlaps]
        if shares:
            yield Overlap(one=one, other=other, share=Spread.of(shares))
