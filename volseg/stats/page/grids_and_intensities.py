"""Images: their grids and intensities."""

from collections.abc import Sequence

from markupsafe import Markup

from volseg.data.distribution import format_spread
from volseg.formatting import format_dimensions, format_number, format_percent
from volseg.stats.dataset_stats import Along, DatasetStats, IntensityStats
from volseg.stats.scan_stats import AXES
from volseg.visualization import row_charts
from volseg.visualization.html_page import render
from volseg.visualization.row_charts import ChartRow
from volseg.visualization.scan_charts import ScanPercentiles, percentile_bands, percentile_scale

LISTED = 8  # grids in the table; of more, how many there are
STRIPS = ("p99.5", "p50", "p5")


def sizes_and_spacings(stats: DatasetStats) -> str:
    """The grids of all scans."""
    scans, sizes = stats.scans, stats.sizes
    voxels = [[scan.shape[axis] for axis in scan.axis_order] for scan in scans]
    spacings = [[scan.spacing_mm[axis] for axis in scan.axis_order] for scan in scans]
    return render(
        "stats/page/grids.html.j2",
        scans=len(scans),
        sizes=sizes,
        voxels=_axis_histograms("Size in voxels", voxels, sizes.voxels, unit="voxels"),
        spacings=_axis_histograms("Spacing in mm", spacings, sizes.spacing_mm, unit="mm"),
        grids=[
            (format_dimensions(grid.shape), format_dimensions(grid.spacing_mm), format_number(grid.scans))
            for grid in sizes.grids[:LISTED]
        ],
        hidden=sizes.grids[LISTED:],
    )


def _axis_histograms(title: str, values: Sequence[Sequence[float]], along: Along, *, unit: str) -> Markup:
    rows = [
        ChartRow(name, format_spread(spread, ends=True), [row[axis] for row in values])
        for axis, (name, spread) in enumerate(zip(AXES, along, strict=True))
    ]
    return row_charts.histograms(rows, unit=unit, label=f"{title} over scans")


def intensities(stats: DatasetStats) -> str:
    """The values of the voxels: two charts and a table a channel."""
    channels = [_channel_charts(name, channel, stats) for name, channel in stats.intensities.items()]
    return render("stats/page/intensities.html.j2", channels=channels) if channels else ""


def _channel_charts(name: str, channel: IntensityStats, stats: DatasetStats) -> dict[str, object]:
    suffix = f", {name}" if len(stats.channels) > 1 else ""
    scans = [ScanPercentiles(s.name, s.intensities[name]) for s in stats.scans if not s.excluded]
    scale = percentile_scale(scans, start=row_charts.LEFT, end=row_charts.RIGHT)
    median = format_spread(channel.levels["p50"])
    label = f"Percentiles of voxel values by scan{suffix}. Median: {median}"
    rows = [_percentile_row(level, channel, scans) for level in STRIPS]
    return {
        "suffix": suffix,
        "log": scale.log,
        "bands": percentile_bands(scans, label=label),
        "strips": row_charts.strip_plots(
            rows, unit="voxel value", label=f"Percentiles over scans{suffix}", scale=scale
        ),
        "rows": _percentile_table(channel),
    }


def _percentile_row(level: str, channel: IntensityStats, scans: Sequence[ScanPercentiles]) -> ChartRow:
    values = {scan.name: scan.levels[level] for scan in scans}
    text = format_spread(channel.levels[level])
    return ChartRow.by_scan(_percentile_name(level), text, values, format_number, "plain")


def _percentile_table(channel: IntensityStats) -> list[tuple[str, ...]]:
    rows = [
        (_percentile_name(level), *map(format_number, (spread.low, spread.median, spread.high)))
        for level, spread in channel.levels.items()
    ]
    blank = channel.blank_share
    if blank.high:
        rows.append(("blank", *map(format_percent, (blank.low, blank.median, blank.high))))
    return rows


def _percentile_name(level: str) -> str:
    names = {"low": "lowest", "p50": "median", "high": "highest"}
    return names.get(level, f"{level.removeprefix('p')} %")
