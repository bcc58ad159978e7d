"""The statistics of a dataset, as `volseg stats --json` writes them; `aggregation.py` computes them.

Sizes are of all scans, intensities of all that are not excluded, classes of those that have labels too.
"""

from volseg.data.distribution import Spread
from volseg.preparation.fingerprint import Point
from volseg.schema import Section
from volseg.stats.scan_stats import ScanStats

Along = tuple[Spread, Spread, Spread]
"""A quantity along each of the patient's AXES."""


class GridCount(Section):
    """How many scans have this shape and spacing, along their voxel axes."""

    shape: tuple[int, int, int]
    spacing_mm: Point
    scans: int


class GridStats(Section):
    """The grids of all scans, most frequent first, and their spread along the patient's AXES.

    `changing` are the cases that do not have the same grid on all days. `axes` counts the scans by
    where their voxel axes run to, `dtypes` by the type of their voxels.
    """

    grids: tuple[GridCount, ...]
    changing: tuple[str, ...]
    voxels: Along
    spacing_mm: Along
    size_mm: Along
    dtypes: dict[str, int]
    axes: dict[str, int]


class IntensityStats(Section):
    """The intensities of one channel: the spread over scans of each of LEVELS.

    `blank_share` is the share of a scan's voxels in the blank around the body.
    """

    levels: dict[str, Spread]
    blank_share: Spread


class DayVolumeStats(Section):
    """How the volume of a class changes over the days of a case, by case.

    Of cases that have it on two days or more: `ratio` is the largest volume by the smallest, `variation`
    the standard deviation (n - 1) by the mean. `on_some_days` counts the cases that have it on some of
    their labelled days, not on all.
    """

    ratio: Spread
    variation: Spread
    on_some_days: int


class ExtentStats(Section):
    """How large a class is and where it lies, over the scans that have it; see ClassExtent."""

    volume_ml: Spread
    top_mm: Spread
    bottom_mm: Spread
    extent_mm: Along


class ClassStats(Section):
    """One class: how many scans have it, and its share of all slices of the labelled scans.

    `where` is None if no scan has it, `days` if no case has it on two days.
    """

    scans: int
    slice_share: float
    where: ExtentStats | None
    days: DayVolumeStats | None


class OverlapStats(Section):
    """The part that two classes share, as a share of the smaller one, over the scans that have both."""

    one: str
    other: str
    share: Spread


class SliceStats(Section):
    """The slices of the labelled scans, how many of them show no class, and the share of these by scan."""

    count: int
    empty: int
    empty_share: Spread


class DatasetStats(Section):
    """A dataset. `labelled` counts the scans with labels that are not excluded.

    Fields without figures are empty or None: overlaps of exclusive classes, `organs` (the classes)
    without labels. `extent_mm` is of the box around all classes of a scan.
    """

    name: str
    layout: str
    classes: tuple[str, ...]
    exclusive: bool
    channels: tuple[str, ...]
    cases: int
    train: int
    test: int
    labelled: int
    excluded: tuple[str, ...]
    sizes: GridStats
    intensities: dict[str, IntensityStats]
    organs: dict[str, ClassStats]
    extent_mm: Along | None
    slices: SliceStats | None
    overlaps: tuple[OverlapStats, ...]
    scans: tuple[ScanStats, ...]
