"""The page of `volseg report`: a list of sections, each of which is there when its facts are."""

from collections.abc import Callable
from importlib.resources import files

from volseg.stages.page import html, page
from volseg.stages.report_page import (
    calibration,
    cleaning,
    days,
    glance,
    making,
    spreads,
    training,
    tuning,
    viewer,
    where,
)  # fmt: skip
from volseg.stages.report_page.facts import Facts

Section = Callable[[Facts], str]
"""HTML for what a report knows, or "" where it knows nothing of the kind."""
SECTIONS: tuple[Section, ...] = (
    glance.tiles,
    glance.means,
    where.where,
    viewer.scans,
    spreads.scores,
    spreads.volumes,
    days.days,
    calibration.calibration,
    tuning.tuning,
    cleaning.cleaning,
    training.learning,
    making.making,
)


def report_page(facts: Facts) -> str:
    """The whole page; the same facts give the same bytes."""
    parts = [section(facts) for section in SECTIONS]
    return page(
        f"{facts.name}: report",
        _subtitle(facts),
        [*parts, html.notes(_notes(facts))],
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
