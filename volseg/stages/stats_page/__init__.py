"""The page of `volseg stats`."""

from volseg.data.statistics import Statistics
from volseg.stages.page import html, page, words
from volseg.stages.stats_page import glance, organs, sections


def stats_page(found: Statistics) -> str:
    """The whole page; the same statistics give the same bytes."""
    return page(
        f"{found.name}: dataset statistics",
        _subtitle(found),
        [
            html.tiles(_tiles(found)),
            _classes(found),
            sections.sizes(found),
            sections.intensities(found),
            organs.volumes(found),
            organs.days(found),
            organs.extents(found),
            organs.overlaps(found),
            html.notes(_notes(found)),
        ],
        made_from="what volseg prepare measured",
    )


def _subtitle(found: Statistics) -> str:
    channels = words.plural(len(found.channels), "channel")
    kind = "classes exclude each other" if found.exclusive else "classes may overlap"
    kind = kind if len(found.classes) > 1 else ""
    told = [
        "Dataset statistics",
        f"layout {found.layout}",
        f"{channels}: {', '.join(found.channels)}",
        kind,
    ]
    return " · ".join(one for one in told if one)


def _tiles(found: Statistics) -> list[tuple[str, str, str]]:
    sizes, total = found.sizes, len(found.scans)
    several = len({one.shape for one in sizes.grids}) > 1
    shape, spacing = sizes.voxels, sizes.spacing_mm
    slices = found.slices
    return [
        ("Cases", words.number(found.cases), _each(total / found.cases)),
        ("Scans", words.number(total), glance.parts(found)),
        ("Voxels", words.size(one.median for one in shape), "medians" if several else "all scans"),
        ("Spacing", words.size(one.median for one in spacing), "mm, medians"),
        ("Slices without a class", words.percent(slices.empty / slices.count), "of labelled scans")
        if slices
        else ("Labels", "none", "no plots of classes"),
    ]


def _each(scans: float) -> str:
    return "one scan each" if scans == 1 else f"{scans:.3g} scans each on average"


def _classes(found: Statistics) -> str:
    """The table on top: a row a class."""
    if not found.organs:
        return ""
    listed = glance.classes(found)
    table = html.table(glance.HEADER, listed, kind="wide", swatches=range(len(listed)))
    return f'<section class="first">{html.card("Classes at a glance", table, glance.CAPTION)}</section>'


def _notes(found: Statistics) -> list[str]:
    told = []
    if found.excluded:
        names = ", ".join(found.excluded)
        told.append(f"Excluded scans are only in the sizes and spacings: {names}.")
    if not found.labelled:
        told.append(
            "No scan that is not excluded has labels, so there is nothing to say of classes."
        )
    return told
