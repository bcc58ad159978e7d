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
from volseg.report.page.content import ReportContent
from volseg.visualization import html_page
from volseg.visualization.html_page import render_page

PageSection = Callable[[ReportContent], str]
"""HTML for what a report knows, or "" where it knows nothing of the kind."""
SECTIONS: tuple[PageSection, ...] = (
    overview.key_figures,
    overview.mean_scores,
    confidence.least_trusted_classes,
    scan_viewer.scan_browser,
    distributions.score_distributions,
    distributions.volume_distributions,
    day_volumes.volumes_by_day,
    calibration.calibration_changes,
    tuning.tuning_changes,
    postprocessing.step_changes,
    training_curves.learning_curves,
    provenance.versions_and_settings,
)


def render_report(facts: ReportContent) -> str:
    """The whole page; the same facts give the same bytes."""
    parts = [section(facts) for section in SECTIONS]
    return render_page(
        f"{facts.name}: report",
        _subtitle(facts),
        [*parts, html_page.notes(_note_lines(facts))],
        made_from="what volseg train, infer and evaluate left",
        sheet=_read_asset("scan_viewer.css"),
        script=_read_asset("scan_viewer.js") if any(scan.picture for scan in facts.scans) else "",
    )


def _read_asset(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _subtitle(facts: ReportContent) -> str:
    dataset = f" · dataset {facts.dataset}" if facts.dataset else ""
    return f"Report of {facts.source}{dataset}"


def _note_lines(facts: ReportContent) -> list[str]:
    unscored = [f"{scan} is not scored: {why}." for scan, why in facts.unscored.items()]
    failed = [f"{scan} has no masks: {why}." for scan, why in facts.failed.items()]
    return [*facts.notes, *unscored, *failed]
