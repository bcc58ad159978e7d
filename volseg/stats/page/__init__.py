"""The page of `volseg stats`."""

from volseg import formatting
from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.page import classes, grids_and_intensities, overview
from volseg.visualization import html_page
from volseg.visualization.html_page import render_page


def render_statistics(found: DatasetStats) -> str:
    """The whole page; the same statistics give the same bytes."""
    return render_page(
        f"{found.name}: dataset statistics",
        _subtitle(found),
        [
            html_page.tiles(_key_figures(found)),
            _class_table(found),
            grids_and_intensities.sizes_and_spacings(found),
            grids_and_intensities.intensities(found),
            classes.sizes_and_positions(found),
            classes.volumes_by_day(found),
            classes.extents(found),
            classes.overlaps(found),
            html_page.notes(_note_lines(found)),
        ],
        made_from="what volseg prepare measured",
    )


def _subtitle(found: DatasetStats) -> str:
    channels = formatting.format_count(len(found.channels), "channel")
    kind = "classes exclude each other" if found.exclusive else "classes may overlap"
    kind = kind if len(found.classes) > 1 else ""
    told = ["Dataset statistics", f"layout {found.layout}", f"{channels}: {', '.join(found.channels)}", kind]
    return " · ".join(one for one in told if one)


def _key_figures(found: DatasetStats) -> list[tuple[str, str, str]]:
    sizes, total = found.sizes, len(found.scans)
    several = len({one.shape for one in sizes.grids}) > 1
    shape, spacing = sizes.voxels, sizes.spacing_mm
    slices = found.slices
    return [
        ("Cases", formatting.format_number(found.cases), _scans_per_case(total / found.cases)),
        ("Scans", formatting.format_number(total), overview.scan_counts(found)),
        (
            "Voxels",
            formatting.format_dimensions(one.median for one in shape),
            "medians" if several else "all scans",
        ),
        ("Spacing", formatting.format_dimensions(one.median for one in spacing), "mm, medians"),
        (
            "Slices without a class",
            formatting.format_percent(slices.empty / slices.count),
            "of labelled scans",
        )
        if slices
        else ("Labels", "none", "no plots of classes"),
    ]


def _scans_per_case(scans: float) -> str:
    return "one scan each" if scans == 1 else f"{scans:.3g} scans each on average"


def _class_table(found: DatasetStats) -> str:
    """The table on top: a row a class."""
    if not found.organs:
        return ""
    listed = overview.class_rows(found)
    table = html_page.table(overview.HEADER, listed, kind="wide", swatches=range(len(listed)))
    return (
        f'<section class="first">{html_page.card("Classes at a glance", table, overview.CAPTION)}</section>'
    )


def _note_lines(found: DatasetStats) -> list[str]:
    told = []
    if found.excluded:
        names = ", ".join(found.excluded)
        told.append(f"Excluded scans are only in the sizes and spacings: {names}.")
    if not found.labelled:
        told.append("No scan that is not excluded has labels, so there is nothing to say of classes.")
    return told
