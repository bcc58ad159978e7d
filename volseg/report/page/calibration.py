"""What calibration changed: how well confidence tells the true Dice, and probabilities the truth."""

from collections.abc import Iterator

from volseg import formatting
from volseg.inference.confidence.calibration_file import CalibrationFile, Figures
from volseg.report.page.content import ReportContent, distinct_run_values
from volseg.visualization import html_page

HEADER = ("class", "temperature", "Spearman", "error of Dice", "ECE")
CAPTION = (
    "Temperature: below 1 probabilities were too near to one half, above 1 too sure. Spearman: how well "
    "confidence ranks masks by their true Dice; 1 is best. Error of Dice: the mean distance of confidence "
    "from it. ECE, the expected calibration error: the mean distance of voxels' probabilities from how "
    "often they hold."
)


def calibration_changes(facts: ReportContent) -> str:
    """A table for each calibration of the runs: before, and after."""
    cards = [html_page.card(_card_title(names, one), _class_table(one, facts), CAPTION)
             for names, one in distinct_run_values(facts, lambda run: run.calibrated)]  # fmt: skip
    lead = "Before → after, on validation scans; after is told of cases that the calibration did not see."
    return html_page.section("Calibration", lead, *cards, kind="stack")


def _card_title(names: str, one: CalibrationFile) -> str:
    of = f"{formatting.format_count(one.scans, 'scan')} of {formatting.format_count(one.cases, 'case')}"
    return f"{names}: {of}" if names else of.capitalize()


def _class_table(one: CalibrationFile, facts: ReportContent) -> str:
    rows = [
        (name, f"{organ.calibration.temperature:.2f}", *_before_after_cells(organ.before, organ.after))
        for name, organ in one.organs.items()
    ]
    rows.append(("all", "–", *_before_after_cells(one.before, one.after)))
    swatches = [facts.swatch_index(name) for name in one.organs]
    return html_page.table(HEADER, rows, kind="wide", swatches=swatches)


def _before_after_cells(before: Figures, after: Figures) -> Iterator[str]:
    pairs = (
        (before.spearman, after.spearman, 2),
        (before.dice_error, after.dice_error, 3),
        (before.ece, after.ece, 3),
    )
    for was, now, digits in pairs:
        yield f"{_format_figure(was, digits)} → {_format_figure(now, digits)}"


def _format_figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")
