"""What the page tells of images: sizes and intensities."""

from collections.abc import Iterator, Sequence

from volseg import formatting
from volseg.data import distribution
from volseg.stats.dataset_stats import Along, Channel, Statistics
from volseg.stats.scan_stats import AXES
from volseg.visualization import html_page, row_charts, scan_charts
from volseg.visualization.row_charts import Row
from volseg.visualization.scan_charts import Levels

LISTED = 8
"""Grids in the table; of more, how many there are."""
STRIPS = ("p99.5", "p50", "p5")


def sizes(found: Statistics) -> str:
    """The grids of all scans."""
    seen, facts = found.scans, found.sizes
    voxels = [[scan.shape[axis] for axis in scan.along] for scan in seen]
    spacings = [[scan.spacing_mm[axis] for axis in scan.along] for scan in seen]
    return html_page.section(
        "Sizes and spacings",
        f"Over {formatting.plural(len(seen), 'scan')}, along the patient's axes.",
        _by_axis("Size in voxels", voxels, facts.voxels, unit="voxels"),
        _by_axis("Spacing in mm", spacings, facts.spacing_mm, unit="mm"),
        _grids(found),
    )


def _by_axis(title: str, values: Sequence[Sequence[float]], along: Along, *, unit: str) -> str:
    lines = [
        Row(name, distribution.between(spread, ends=True), [row[axis] for row in values])
        for axis, (name, spread) in enumerate(zip(AXES, along, strict=True))
    ]
    plot = row_charts.histograms(
        lines, unit=unit, label=f"{title} over scans. {row_charts.told(lines)}"
    )
    return html_page.figure(title, plot, "Height: scans. Figures: median (smallest–largest).")


def _grids(found: Statistics) -> str:
    facts = found.sizes
    listed = [
        (formatting.size(one.shape), formatting.size(one.spacing_mm), formatting.number(one.scans))
        for one in facts.grids[:LISTED]
    ]
    left = facts.grids[LISTED:]
    lines = [
        f"{formatting.plural(len(left), 'other grid')} of {formatting.plural(sum(g.scans for g in left), 'scan')}"
        if left
        else "",
        f"along the voxel axes, which run to {formatting.counted(facts.axes)}",
        f"type {formatting.counted(facts.dtypes)}",
        f"not the same on all days in {formatting.plural(len(facts.changing), 'case')}: "
        f"{formatting.listed(facts.changing)}"
        if facts.changing
        else "",
    ]
    caption = "; ".join(line for line in lines if line)
    header = ("voxels", "spacing in mm", "scans")
    return html_page.card(
        "Grids", html_page.table(header, listed), f"{caption[0].upper()}{caption[1:]}."
    )


def intensities(found: Statistics) -> str:
    """The values of the voxels: two plots and a table a channel."""
    parts: list[str] = []
    for name, channel in found.intensities.items():
        parts += _channel(name, channel, found)
    return html_page.section(
        "Intensities",
        "Voxel values as they are stored. Percentiles are of the body; what is blank around it, the lowest "
        "value where at least a fifth of a scan has it, is left out.",
        *parts,
    )


def _channel(name: str, channel: Channel, found: Statistics) -> Iterator[str]:
    kept = [scan for scan in found.scans if not scan.excluded]
    of = f", {name}" if len(found.channels) > 1 else ""
    levels = [Levels(scan.name, scan.intensities[name]) for scan in kept]
    scale = scan_charts.scale_of(levels, start=row_charts.LEFT, end=row_charts.RIGHT)
    axis = " Logarithmic scale." if scale.log else ""
    median = distribution.between(channel.levels["p50"])
    plot = scan_charts.bands(
        levels, label=f"Percentiles of voxel values by scan{of}. Median: {median}"
    )
    caption = f"Line: median. Bands: 25–75 %, 5–95 %, 0.5–99.5 %.{axis}"
    yield html_page.figure(f"Percentiles by scan{of}", plot, caption)
    lines = [_level(level, channel, levels) for level in STRIPS]
    label = f"Percentiles over scans{of}. {row_charts.told(lines)}"
    plot = row_charts.strips(lines, unit="voxel value", label=label, scale=scale)
    yield html_page.figure(
        f"Percentiles over scans{of}", plot, f"{row_charts.BOXES} {row_charts.FIGURES}{axis}"
    )
    yield html_page.card(f"In figures{of}", _levels(channel))


def _level(level: str, channel: Channel, levels: Sequence[Levels]) -> Row:
    hints = [f"{scan.name}: {formatting.number(scan.levels[level])}" for scan in levels]
    values = [scan.levels[level] for scan in levels]
    return Row(_named(level), distribution.between(channel.levels[level]), values, hints, "plain")


def _levels(channel: Channel) -> str:
    lines = [
        (_named(level), *map(formatting.number, (one.low, one.median, one.high)))
        for level, one in channel.levels.items()
    ]
    if channel.blank_share.high:
        blank = channel.blank_share
        lines.append(("blank", *map(formatting.percent, (blank.low, blank.median, blank.high))))
    return html_page.table(("of a scan", "smallest", "median", "largest"), lines)


def _named(level: str) -> str:
    names = {"low": "lowest", "p50": "median", "high": "highest"}
    return names.get(level, f"{level.removeprefix('p')} %")
