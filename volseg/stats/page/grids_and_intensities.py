"""What the page tells of images: sizes and intensities."""

from collections.abc import Iterator, Sequence

from volseg import formatting
from volseg.data import distribution
from volseg.stats.dataset_stats import Along, DatasetStats, IntensityStats
from volseg.stats.scan_stats import AXES
from volseg.visualization import html_page, row_charts, scan_charts
from volseg.visualization.row_charts import ChartRow
from volseg.visualization.scan_charts import ScanPercentiles

LISTED = 8
"""Grids in the table; of more, how many there are."""
STRIPS = ("p99.5", "p50", "p5")


def sizes_and_spacings(found: DatasetStats) -> str:
    """The grids of all scans."""
    seen, facts = found.scans, found.sizes
    voxels = [[scan.shape[axis] for axis in scan.axis_order] for scan in seen]
    spacings = [[scan.spacing_mm[axis] for axis in scan.axis_order] for scan in seen]
    return html_page.section(
        "Sizes and spacings",
        f"Over {formatting.format_count(len(seen), 'scan')}, along the patient's axes.",
        _axis_histograms("Size in voxels", voxels, facts.voxels, unit="voxels"),
        _axis_histograms("Spacing in mm", spacings, facts.spacing_mm, unit="mm"),
        _grid_table(found),
    )


def _axis_histograms(title: str, values: Sequence[Sequence[float]], along: Along, *, unit: str) -> str:
    lines = [
        ChartRow(name, distribution.format_spread(spread, ends=True), [row[axis] for row in values])
        for axis, (name, spread) in enumerate(zip(AXES, along, strict=True))
    ]
    plot = row_charts.histograms(
        lines, unit=unit, label=f"{title} over scans. {row_charts.describe_rows(lines)}"
    )
    return html_page.figure(title, plot, "Height: scans. Figures: median (smallest–largest).")


def _grid_table(found: DatasetStats) -> str:
    facts = found.sizes
    listed = [
        (
            formatting.format_dimensions(one.shape),
            formatting.format_dimensions(one.spacing_mm),
            formatting.format_number(one.scans),
        )
        for one in facts.grids[:LISTED]
    ]
    left = facts.grids[LISTED:]
    lines = [
        f"{formatting.format_count(len(left), 'other grid')} of {formatting.format_count(sum(g.scans for g in left), 'scan')}"
        if left
        else "",
        f"along the voxel axes, which run to {formatting.format_frequencies(facts.axes)}",
        f"type {formatting.format_frequencies(facts.dtypes)}",
        f"not the same on all days in {formatting.format_count(len(facts.changing), 'case')}: "
        f"{formatting.abbreviate_names(facts.changing)}"
        if facts.changing
        else "",
    ]
    caption = "; ".join(line for line in lines if line)
    header = ("voxels", "spacing in mm", "scans")
    return html_page.card("Grids", html_page.table(header, listed), f"{caption[0].upper()}{caption[1:]}.")


def intensities(found: DatasetStats) -> str:
    """The values of the voxels: two plots and a table a channel."""
    parts: list[str] = []
    for name, channel in found.intensities.items():
        parts += _channel_charts(name, channel, found)
    return html_page.section(
        "Intensities",
        "Voxel values as they are stored. Percentiles are of the body; what is blank around it, the lowest "
        "value where at least a fifth of a scan has it, is left out.",
        *parts,
    )


def _channel_charts(name: str, channel: IntensityStats, found: DatasetStats) -> Iterator[str]:
    kept = [scan for scan in found.scans if not scan.excluded]
    of = f", {name}" if len(found.channels) > 1 else ""
    levels = [ScanPercentiles(scan.name, scan.intensities[name]) for scan in kept]
    scale = scan_charts.percentile_scale(levels, start=row_charts.LEFT, end=row_charts.RIGHT)
    axis = " Logarithmic scale." if scale.log else ""
    median = distribution.format_spread(channel.levels["p50"])
    plot = scan_charts.percentile_bands(
        levels, label=f"Percentiles of voxel values by scan{of}. Median: {median}"
    )
    caption = f"Line: median. Bands: 25–75 %, 5–95 %, 0.5–99.5 %.{axis}"
    yield html_page.figure(f"Percentiles by scan{of}", plot, caption)
    lines = [_percentile_row(level, channel, levels) for level in STRIPS]
    label = f"Percentiles over scans{of}. {row_charts.describe_rows(lines)}"
    plot = row_charts.strip_plots(lines, unit="voxel value", label=label, scale=scale)
    yield html_page.figure(
        f"Percentiles over scans{of}", plot, f"{row_charts.BOXES} {row_charts.FIGURES}{axis}"
    )
    yield html_page.card(f"In figures{of}", _percentile_table(channel))


def _percentile_row(level: str, channel: IntensityStats, levels: Sequence[ScanPercentiles]) -> ChartRow:
    hints = [f"{scan.name}: {formatting.format_number(scan.levels[level])}" for scan in levels]
    values = [scan.levels[level] for scan in levels]
    return ChartRow(
        _percentile_name(level), distribution.format_spread(channel.levels[level]), values, hints, "plain"
    )


def _percentile_table(channel: IntensityStats) -> str:
    lines = [
        (_percentile_name(level), *map(formatting.format_number, (one.low, one.median, one.high)))
        for level, one in channel.levels.items()
    ]
    if channel.blank_share.high:
        blank = channel.blank_share
        lines.append(("blank", *map(formatting.format_percent, (blank.low, blank.median, blank.high))))
    return html_page.table(("of a scan", "smallest", "median", "largest"), lines)


def _percentile_name(level: str) -> str:
    names = {"low": "lowest", "p50": "median", "high": "highest"}
    return names.get(level, f"{level.removeprefix('p')} %")
