"""The page of `volseg report`: a list of sections, each of which is there when it has something to show."""

from collections.abc import Callable

from volseg.formatting import names_by_reason
from volseg.report.page import (
    calibration,
    confidence,
    corrections,
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
from volseg.visualization.html_page import render

PageSection = Callable[[ReportContent], str]
"""A section's HTML, or "" where the report has nothing of the kind."""
SECTIONS: tuple[PageSection, ...] = (
    overview.key_figures,
    overview.mean_scores,
    confidence.least_trusted_classes,
    corrections.correction_costs,
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


def render_report(content: ReportContent) -> str:
    """The page; the same content gives the same bytes."""
    unscored = [f"{scans}: not scored: {reason}." for scans, reason in names_by_reason(content.unscored)]
    failed = [f"{scans}: no masks: {reason}." for scans, reason in names_by_reason(content.failed)]
    return render(
        "report/page/report.html.j2",
        name=content.name,
        content=content,
        sections=[section(content) for section in SECTIONS],
        notes=[*content.notes, *unscored, *failed],
    )
