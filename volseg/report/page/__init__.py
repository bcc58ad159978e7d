"""The page of `volseg report`: a list of sections, each of which is there when its facts are."""

from collections.abc import Callable
from importlib.resources import files

from volseg.report.page import (
    calibration,
    confidence,
    day_volumes,
    distributions,
    overview,
    postprocessing,
    provenance,
    scan_viewer,
    training_curves,
    tuning,
)
from volseg.report.page.content import Facts
from volseg.visualization import html_page
from volseg.visualization.html_page import page

Section = Callable[[Facts], str]
"""HTML for what a report knows, or "" where it knows nothing of the kind."""
SECTIONS: tuple[Section, ...] = (
    overview.tiles,
    overview.means,
    confidence.where,
    scan_viewer.scans,
    distributions.scores,
    distributions.volumes,
    day_volumes.days,
    calibration.calibration,
    tuning.tuning,
    postprocessing.cleaning,
    training_curves.learning,
    provenance.making,
)


def report_page(facts: Facts) -> str:
    """The whole page; the same facts give the same bytes."""
    parts = [section(facts) for section in SECTIONS]
    return page(
        f"{facts.name}: report",
        _subtitle(facts),
        [*parts, html_page.notes(_notes(facts))],
        made_from="what volseg train, infer and evaluate left",
        sheet=_file("viewer.css"),
        script=_file("viewer.js") if any(scan.picture for scan in facts.scans) else "",
    )


def _file(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _subtitle(facts: Facts) -> str:
    dataset = f" · dataset {facts.dataset}" if facts.dataset else ""
    return f"Report of {facts.source}{dataset}"


def _notes(facts: Facts) -> list[str]:
    unscored = [f"{scan} is not scored: {why}." for scan, why in facts.unscored.items()]
    failed = [f"{scan} has no masks: {why}." for scan, why in facts.failed.items()]
    return [*facts.notes, *unscored, *failed]
