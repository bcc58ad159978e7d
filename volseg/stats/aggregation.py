"""From the fingerprints of a dataset's scans to its statistics, without reading a voxel."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from volseg.data.dataset import DatasetInfo
from volseg.data.distribution import Spread
from volseg.preparation.fingerprint import Fingerprint
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
from volseg.stats.scan_stats import LEVELS, ClassExtent, ScanStats, pair_name, summarise_scan

if TYPE_CHECKING:
    from pandas import DataFrame


def aggregate_fingerprints(info: DatasetInfo, fingerprints: Sequence[Fingerprint]) -> DatasetStats:
    """The statistics of a dataset of one scan at least; a fingerprint a sample, in their order."""
    pairs = zip(info.samples, fingerprints, strict=True)
    scans = tuple(summarise_scan(sample, fingerprint, info) for sample, fingerprint in pairs)
    included = [scan for scan in scans if not scan.excluded]
    labelled = [scan for scan in scans if scan.in_class_stats]
    boxes = [scan.extent_mm for scan in labelled if scan.extent_mm]
    return DatasetStats(
        **info.model_dump(include={"name", "layout", "classes", "exclusive", "channels"}),
        cases=len({scan.case for scan in scans}),
        train=sum(scan.part == "train" for scan in scans),
        test=sum(scan.part == "test" for scan in scans),
        labelled=len(labelled),
        excluded=tuple(scan.name for scan in scans if scan.excluded),
        sizes=_grid_stats(scans),
        intensities={name: _intensity_stats(name, included) for name in info.channels if included},
        organs=_class_stats(labelled) if labelled else {},
        extent_mm=_spread_by_axis(boxes) if boxes else None,
        slices=_slice_stats(labelled) if labelled else None,
        overlaps=tuple(_overlap_stats(info.classes, labelled)),
        scans=scans,
    )


def _grid_stats(scans: Sequence[ScanStats]) -> GridStats:
    grids = Counter((scan.shape, scan.spacing_mm) for scan in scans)
    by_case = Counter(case for case, *_ in dict.fromkeys((s.case, s.shape, s.spacing_mm) for s in scans))
    voxels = [[scan.shape[axis] for axis in scan.axis_order] for scan in scans]
    spacings = [[scan.spacing_mm[axis] for axis in scan.axis_order] for scan in scans]
    return GridStats(
        grids=tuple(
            GridCount(shape=shape, spacing_mm=spacing, scans=count)
            for (shape, spacing), count in sorted(grids.items(), key=lambda item: (-item[1], item[0]))
        ),
        changing=tuple(case for case, kinds in by_case.items() if kinds > 1),
        voxels=_spread_by_axis(voxels),
        spacing_mm=_spread_by_axis(spacings),
        size_mm=_spread_by_axis(np.multiply(voxels, spacings).tolist()),
        dtypes=dict(Counter(scan.dtype for scan in scans).most_common()),
        axes=dict(Counter(scan.axes for scan in scans).most_common()),
    )


def _spread_by_axis(rows: Sequence[Sequence[float]]) -> Along:
    """Spreads of three columns, a row a scan."""
    x, y, z = map(Spread.from_values, zip(*rows, strict=True))
    return x, y, z


def _intensity_stats(name: str, scans: Sequence[ScanStats]) -> IntensityStats:
    return IntensityStats(
        levels={
            level: Spread.from_values(scan.intensities[name][level] for scan in scans) for level in LEVELS
        },
        blank_share=Spread.from_values(scan.blank_share[name] for scan in scans),
    )


def _class_stats(scans: Sequence[ScanStats]) -> dict[str, ClassStats]:
    """Statistics of each class over labelled scans."""
    import pandas as pd

    rows = [
        {"class_name": name, "case": scan.case, **(extent.model_dump() if extent else {})}
        for scan in scans
        for name, extent in (scan.organs or {}).items()
    ]
    table = pd.DataFrame(rows, columns=["class_name", "case", *ClassExtent.model_fields])
    slices = sum(scan.slice_count for scan in scans)
    return {
        str(name): ClassStats(
            scans=int(extents["volume_ml"].count()),
            slice_share=extents["slices"].sum() / slices,
            where=_extent_stats(extents.dropna()),
            days=_day_volume_stats(extents),
        )
        for name, extents in table.groupby("class_name", sort=False)
    }


def _extent_stats(extents: "DataFrame") -> ExtentStats | None:
    """Spreads over the rows of one class, a row a scan that has it; None without any."""
    if extents.empty:
        return None
    return ExtentStats(
        volume_ml=Spread.from_values(extents["volume_ml"]),
        top_mm=Spread.from_values(extents["top_mm"]),
        bottom_mm=Spread.from_values(extents["bottom_mm"]),
        extent_mm=_spread_by_axis(extents["extent_mm"].tolist()),
    )


def _day_volume_stats(extents: "DataFrame") -> DayVolumeStats | None:
    """Spreads over cases of the rows of one class, a row a scan (NaN: the class is not in it)."""
    cases = extents.groupby("case")["volume_ml"].agg(
        scans="size",
        present="count",
        ratio=lambda volumes: volumes.max() / volumes.min(),
        variation=lambda volumes: volumes.std() / volumes.mean(),
    )
    several = cases[cases["present"] > 1]
    if several.empty:
        return None
    return DayVolumeStats(
        ratio=Spread.from_values(several["ratio"]),
        variation=Spread.from_values(several["variation"]),
        on_some_days=int(cases["present"].between(1, cases["scans"] - 1).sum()),
    )


def _slice_stats(scans: Sequence[ScanStats]) -> SliceStats:
    empty, slices = ([scan.empty_slices or 0 for scan in scans], [scan.slice_count for scan in scans])
    return SliceStats(
        count=sum(slices), empty=sum(empty), empty_share=Spread.from_values(np.divide(empty, slices))
    )


def _overlap_stats(classes: Sequence[str], scans: Sequence[ScanStats]) -> Iterator[OverlapStats]:
    for one, other in combinations(classes, 2):
        name = pair_name(one, other)
        shares = [scan.overlaps[name] for scan in scans if name in scan.overlaps]
        if shares:
            yield OverlapStats(one=one, other=other, share=Spread.from_values(shares))
