"""The page of `volseg stats`: a list of sections, each of which is there when it has something to show."""

from collections.abc import Callable

from volseg.stats.dataset_stats import DatasetStats
from volseg.stats.page import classes, grids_and_intensities, overview
from volseg.visualization.html_page import render

SECTIONS: tuple[Callable[[DatasetStats], str], ...] = (
    overview.key_figures_and_classes,
    grids_and_intensities.sizes_and_spacings,
    grids_and_intensities.intensities,
    classes.sizes_and_positions,
    classes.volumes_by_day,
    classes.extents,
    classes.overlaps,
)


def render_statistics(stats: DatasetStats) -> str:
    """The page; the same statistics give the same bytes."""
    notes = []
    if stats.excluded:
        notes.append(f"Excluded scans are only in the sizes and spacings: {', '.join(stats.excluded)}.")
    if not stats.labelled:
        notes.append("No scan that is not excluded has labels, so there is nothing to say of classes.")
    sections = [section(stats) for section in SECTIONS]
    return render("stats/page/stats.html.j2", name=stats.name, stats=stats, sections=sections, notes=notes)
