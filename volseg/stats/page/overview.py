"""Key figures, and a row a class, for the page and for the terminal."""

import math

from volseg.data.distribution import Spread, format_spread
from volseg.formatting import format_count, format_number, format_percent
from volseg.stats.dataset_stats import ClassStats, DatasetStats
from volseg.visualization.html_page import css_colour, render


def key_figures_and_classes(stats: DatasetStats) -> str:
    """The key figures, and a table with a row a class."""
    colours = [css_colour(index) for index in range(len(stats.organs))]
    return render(
        "stats/page/overview.html.j2",
        stats=stats,
        counts=scan_counts(stats),
        rows=class_rows(stats),
        colours=colours,
    )


def scan_counts(stats: DatasetStats) -> str:
    """How many scans are what: 9 with labels, 1 without labels, 7 excluded; 1 in the test part."""
    excluded = len(stats.excluded)
    counts = {
        "with labels": stats.labelled,
        "without labels": len(stats.scans) - stats.labelled - excluded,
        "excluded": excluded,
    }
    text = ", ".join(f"{format_number(count)} {name}" for name, count in counts.items() if count)
    return f"{text}; {format_number(stats.test)} in the test part" if stats.test else text


def class_rows(stats: DatasetStats) -> list[tuple[str, ...]]:
    """A row a class: its scans, volume, change by day, slices, place and extents; `a|b`: b remarks on a."""
    return [(name, *_class_cells(entry, stats)) for name, entry in stats.organs.items()]


def _class_cells(entry: ClassStats, stats: DatasetStats) -> list[str]:
    scans = f"{format_number(entry.scans)} of {format_number(stats.labelled)}"
    share = format_percent(entry.slice_share)
    if not entry.where:
        return [scans, "–", "–", share, "–", "–", "–", "–"]
    where, spacing = entry.where, stats.sizes.spacing_mm
    return [
        scans,
        format_spread(where.volume_ml).replace(" ", "|", 1),
        f"{entry.days.ratio.median:.2f}×" if entry.days else "–",
        share,
        f"{format_number(where.top_mm.median)}–{format_number(where.bottom_mm.median)}",
        *(_extent_cell(mm, voxel) for mm, voxel in zip(where.extent_mm, spacing, strict=True)),
    ]


def _extent_cell(extent_mm: Spread, spacing_mm: Spread) -> str:
    voxels = math.ceil(round(extent_mm.p95 / spacing_mm.median, 3))
    return f"{format_number(extent_mm.p95)}|{format_count(voxels, 'voxel')}"
