"""The overview of a dataset, as a table on the terminal."""

from collections.abc import Iterator
from typing import Literal

from rich.console import Group
from rich.text import Text

from volseg import formatting
from volseg.data import distribution
from volseg.stats.dataset_stats import Statistics
from volseg.stats.page import overview
from volseg.stats.scan_stats import AXES

GRIDS, PAIRS = 4, 6
"""Grids and overlaps in the table; the page and the JSON have more."""


SHOWN = ("p0.5", "p50", "p99.5")


HEADER = ("class", "scans", "ml", "by day", "slices", "mm from head", *(f"{a}, mm" for a in AXES))


def table(found: Statistics) -> "Group":
    """The dataset at a glance, for a terminal: its scans, and a row a class."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    scans = Table(title=Text(found.name), show_header=False)
    for name, told in _facts(found):
        scans.add_row(name, _plain(told))
    if not found.organs:
        return Group(scans)
    classes = Table(caption="by day: largest by smallest volume of a case; box: 95th percentile")
    for header in HEADER:
        justify: Literal["left", "right"] = "right" if classes.columns else "left"
        classes.add_column(header, justify=justify)
    for row in overview.classes(found):
        classes.add_row(*(_plain(cell) for cell in row))
    return Group(scans, classes)


def _facts(found: Statistics) -> Iterator[tuple[str, str]]:
    sizes = found.sizes
    scans = formatting.plural(len(found.scans), "scan")
    yield "scans", f"{scans} of {formatting.plural(found.cases, 'case')}: {overview.parts(found)}"
    if sizes.grids[1:]:
        shape = formatting.size(one.median for one in sizes.voxels)
        spacing = formatting.size(one.median for one in sizes.spacing_mm)
        yield "medians", f"{shape} at {spacing} mm, {', '.join(AXES)}"
    for one in sizes.grids[:GRIDS]:
        grid = f"{formatting.size(one.shape)} at {formatting.size(one.spacing_mm)} mm"
        yield "grid", f"{grid} ({formatting.plural(one.scans, 'scan')})"
    if sizes.grids[GRIDS:]:
        yield "", f"and {formatting.plural(len(sizes.grids) - GRIDS, 'other grid')}"
    if sizes.changing:
        yield "", f"not the same on all days: {formatting.listed(sizes.changing)}"
    yield (
        "voxels",
        f"{formatting.counted(sizes.dtypes)}; axes run to {formatting.counted(sizes.axes)}",
    )
    for name, channel in found.intensities.items():
        levels = (f"{level} {distribution.between(channel.levels[level])}" for level in SHOWN)
        yield name, f"{'; '.join(levels)}; blank {formatting.percent(channel.blank_share.median)}"
    if found.slices:
        share = formatting.percent(found.slices.empty / found.slices.count)
        yield "slices", f"{share} of {formatting.number(found.slices.count)} show no class"
    for overlap in found.overlaps[:PAIRS]:
        share = f"{formatting.percent(overlap.share.median)}, at most {formatting.percent(overlap.share.high)}"
        yield "overlap", f"{overlap.one} & {overlap.other}: {share}"


def _plain(told: str) -> "Text":
    """What any terminal can show."""
    from rich.text import Text

    return Text(told.replace("|(", " (").replace("|", " = ").replace(formatting.THIN, " "))
