"""The overview of a dataset, as a table on the terminal."""

from collections.abc import Iterator

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from volseg.data.distribution import format_spread
from volseg.formatting import (
    THIN,
    abbreviate_names,
    format_count,
    format_dimensions,
    format_frequencies,
    format_number,
    format_percent,
)
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.page import overview
from volseg.stats.scan_stats import AXES

GRIDS, PAIRS = 4, 6  # grids and overlaps in the table; the page and the JSON have more
SHOWN = ("p0.5", "p50", "p99.5")
BOX = tuple("-\n".join(axis.split("-")) + "\nmm" for axis in AXES)
HEADER = ("class", "scans", "ml", "by\nday", "slices", "mm from\nhead", *BOX)
CAPTION = """by day: largest by smallest volume of a case
from left-right on: the box around it, 95th percentile, and below it in voxels"""


def overview_table(stats: DatasetStats) -> Group:
    """The dataset at a glance, for a terminal of 80 columns: its scans, and a row a class."""
    scans = Table(title=Text(stats.name), show_header=False)
    for name, words in _dataset_rows(stats):
        scans.add_row(name, _terminal_text(words))
    if not stats.organs:
        return Group(scans)
    classes = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, caption=CAPTION, caption_justify="left")
    for header in HEADER:
        classes.add_column(header, justify="right" if classes.columns else "left", overflow="fold")
    for row in overview.class_rows(stats):
        classes.add_row(*map(_terminal_text, row))
    return Group(scans, classes)


def _dataset_rows(stats: DatasetStats) -> Iterator[tuple[str, str]]:
    scans, cases = format_count(len(stats.scans), "scan"), format_count(stats.cases, "case")
    yield "scans", f"{scans} of {cases}: {overview.scan_counts(stats)}"
    yield from _grid_rows(stats)
    for name, channel in stats.intensities.items():
        levels = (f"{level} {format_spread(channel.levels[level])}" for level in SHOWN)
        yield name, f"{'; '.join(levels)}; blank {format_percent(channel.blank_share.median)}"
    if stats.slices:
        share = format_percent(stats.slices.empty / stats.slices.count)
        yield "slices", f"{share} of {format_number(stats.slices.count)} show no class"
    for pair in stats.overlaps[:PAIRS]:
        share = f"{format_percent(pair.share.median)}, at most {format_percent(pair.share.high)}"
        yield "overlap", f"{pair.one} & {pair.other}: {share}"


def _grid_rows(stats: DatasetStats) -> Iterator[tuple[str, str]]:
    sizes = stats.sizes
    if len(sizes.grids) > 1:
        shape = format_dimensions(spread.median for spread in sizes.voxels)
        spacing = format_dimensions(spread.median for spread in sizes.spacing_mm)
        yield "medians", f"{shape} at {spacing} mm, {', '.join(AXES)}"
    for grid in sizes.grids[:GRIDS]:
        text = f"{format_dimensions(grid.shape)} at {format_dimensions(grid.spacing_mm)} mm"
        yield "grid", f"{text} ({format_count(grid.scans, 'scan')})"
    if len(sizes.grids) > GRIDS:
        yield "", f"and {format_count(len(sizes.grids) - GRIDS, 'other grid')}"
    if sizes.changing:
        yield "", f"not the same on all days: {abbreviate_names(sizes.changing)}"
    yield "voxels", f"{format_frequencies(sizes.dtypes)}; axes run to {format_frequencies(sizes.axes)}"


def _terminal_text(words: str) -> Text:
    """What any terminal can show; remarks stand on a line of their own, voxels without their word."""
    value, mark, remark = words.partition("|")
    if mark:
        value = f"{value}\n{remark.removesuffix('s').removesuffix(' voxel')}"
    return Text(value.replace(THIN, " "))
