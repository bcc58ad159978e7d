"""What there is to know at a glance: a line a class, for the page and for the terminal."""

import math

from volseg import formatting
from volseg.data import distribution
from volseg.data.distribution import Spread
from volseg.stats.dataset_stats import ClassStats, DatasetStats, ExtentStats
from volseg.stats.scan_stats import AXES

HEADER = (
    "class",
    "scans",
    "volume in ml",
    "by day",
    "slices",
    "top to bottom in mm",
    *(f"{name} in mm" for name in AXES),
)
CAPTION = (
    "Volume: median (5–95 %) over scans. By day: largest by smallest volume of a case, median over cases. "
    "Slices: those that show the class. Top and bottom: medians, below the head end of the scan. "
    "Left-right, front-back and head-foot: the box around the class, 95th percentile, and how many voxels "
    "of the median spacing that is."
)


def scan_counts(found: DatasetStats) -> str:
    """How many scans are what: 9 with labels, 1 without labels, 7 excluded; 1 in the test part."""
    excluded = len(found.excluded)
    counts = {
        "with labels": found.labelled,
        "without labels": len(found.scans) - found.labelled - excluded,
        "excluded": excluded,
    }
    told = ", ".join(f"{formatting.format_number(count)} {name}" for name, count in counts.items() if count)
    return f"{told}; {formatting.format_number(found.test)} in the test part" if found.test else told


def class_rows(found: DatasetStats) -> list[tuple[str, ...]]:
    """A row a class, below HEADER; in a cell `a|b` b is a remark on a."""
    return [(name, *_class_cells(one, found)) for name, one in found.organs.items()]


def _class_cells(one: ClassStats, found: DatasetStats) -> list[str]:
    scans = f"{formatting.format_number(one.scans)} of {formatting.format_number(found.labelled)}"
    share = formatting.format_percent(one.slice_share)
    if not one.where:
        return [scans, "–", "–", share, "–", "–", "–", "–"]
    where, spacing = one.where, found.sizes.spacing_mm
    return [
        scans,
        distribution.format_spread(where.volume_ml).replace(" ", "|", 1),
        f"{one.days.ratio.median:.2f}×" if one.days else "–",
        share,
        _top_to_bottom(where),
        *(_extent_cell(mm, voxel) for mm, voxel in zip(where.extent_mm, spacing, strict=True)),
    ]


def _top_to_bottom(where: ExtentStats) -> str:
    return (
        f"{formatting.format_number(where.top_mm.median)}–{formatting.format_number(where.bottom_mm.median)}"
    )


def _extent_cell(extent_mm: Spread, spacing_mm: Spread) -> str:
    voxels = math.ceil(round(extent_mm.p95 / spacing_mm.median, 3))
    return f"{formatting.format_number(extent_mm.p95)}|{formatting.format_count(voxels, 'voxel')}"
