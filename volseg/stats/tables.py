"""The overview of a dataset, as a table on the terminal."""

from collections.abc import Iterator
from typing import Literal

from rich.console import Group
from rich.text import Text

from volseg import formatting
from volseg.data import distribution
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.page import overview
from volseg.stats.scan_stats import AXES

GRIDS, PAIRS = 4, 6
"""Grids and overlaps in the table; the page and the JSON have more."""
SHOWN = ("p0.5", "p50", "p99.5")
HEADER = ("class", "scans", "ml", "by day", "slices", "mm from head", *(f"{a}, mm" for a in AXES))


def overview_table(found: DatasetStats) -> "Group":
    """The dataset at a glance, for a terminal: its scans, and a row a class."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    scans = Table(title=Text(found.name), show_header=False)
    for name, told in _dataset_rows(found):
        scans.add_row(name, _terminal_text(told))
    if not found.organs:
        return Group(scans)
    classes = Table(caption="by day: largest by smallest volume of a case; box: 95th percentile")
    for header in HEADER:
        justify: Literal["left", "right"] = "right" if classes.columns else "left"
        classes.add_column(header, justify=justify)
    for row in overview.class_rows(found):
        classes.add_row(*(_terminal_text(cell) for cell in row))
    return Group(scans, classes)


def _dataset_rows(found: DatasetStats) -> Iterator[tuple[str, str]]:
    sizes = found.sizes
    scans = formatting.format_count(len(found.scans), "scan")
    yield (
        "scans",
        f"{scans} of {formatting.format_count(found.cases, 'case')}: {overview.scan_counts(found)}",
    )
    if sizes.grids[1:]:
        shape = formatting.format_dimensions(one.median for one in sizes.voxels)
        spacing = formatting.format_dimensions(one.median for one in sizes.spacing_mm)
        yield "medians", f"{shape} at {spacing} mm, {', '.join(AXES)}"
    for one in sizes.grids[:GRIDS]:
        grid = (
            f"{formatting.format_dimensions(one.shape)} at {formatting.format_dimensions(one.spacing_mm)} mm"
        )
        yield "grid", f"{grid} ({formatting.format_count(one.scans, 'scan')})"
    if sizes.grids[GRIDS:]:
        yield "", f"and {formatting.format_count(len(sizes.grids) - GRIDS, 'other grid')}"
    if sizes.changing:
        yield "", f"not the same on all days: {formatting.abbreviate_names(sizes.changing)}"
    yield (
        "voxels",
        f"{formatting.format_frequencies(sizes.dtypes)}; axes run to {formatting.format_frequencies(sizes.axes)}",
    )
    for name, channel in found.intensities.items():
        levels = (f"{level} {distribution.format_spread(channel.levels[level])}" for level in SHOWN)
        yield (name, f"{'; '.join(levels)}; blank {formatting.format_percent(channel.blank_share.median)}")
    if found.slices:
        share = formatting.format_percent(found.slices.empty / found.slices.count)
        yield "slices", f"{share} of {formatting.format_number(found.slices.count)} show no class"
    for overlap in found.overlaps[:PAIRS]:
        share = f"{formatting.format_percent(overlap.share.median)}, at most {formatting.format_percent(overlap.share.high)}"
        yield "overlap", f"{overlap.one} & {overlap.other}: {share}"


def _terminal_text(told: str) -> "Text":
    """What any terminal can show."""
    from rich.text import Text

    return Text(told.replace("|(", " (").replace("|", " = ").replace(formatting.THIN, " "))
