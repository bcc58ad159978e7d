"""What calibration changed: how well confidence tells the true Dice, and probabilities the truth."""

from collections.abc import Iterator

from volseg import formatting
from volseg.inference.confidence.calibration_file import Calibrated, Figures
from volseg.report.page.content import Facts, of_runs
from volseg.visualization import html_page

HEADER = ("class", "temperature", "Spearman", "error of Dice", "ECE")
CAPTION = (
    "Temperature: below 1 probabilities were too near to one half, above 1 too sure. Spearman: how well "
    "confidence ranks masks by their true Dice; 1 is best. Error of Dice: the mean distance of confidence "
    "from it. ECE, the expected calibration error: the mean distance of voxels' probabilities from how "
    "often they hold."
)


def calibration(facts: Facts) -> str:
    """A table for each calibration of the runs: before, and after."""
    cards = [html_page.card(_title(names, one), _table(one, facts), CAPTION)
             for names, one in of_runs(facts, lambda run: run.calibrated)]  # fmt: skip
    lead = "Before → after, on validation scans; after is told of cases that the calibration did not see."
    return html_page.section("Calibration", lead, *cards, kind="stack")


def _title(names: str, one: Calibrated) -> str:
    of = f"{formatting.plural(one.scans, 'scan')} of {formatting.plural(one.cases, 'case')}"
    return f"{names}: {of}" if names else of.capitalize()


def _table(one: Calibrated, facts: Facts) -> str:
    rows = [
        (name, f"{organ.calibration.temperature:.2f}", *_changes(organ.before, organ.after))
        for name, organ in one.organs.items()
    ]
    rows.append(("all", "–", *_changes(one.before, one.after)))
    swatches = [facts.swatch(name) for name in one.organs]
    return html_page.table(HEADER, rows, kind="wide", swatches=swatches)


def _changes(before: Figures, after: Figures) -> Iterator[str]:
    pairs = (
        (before.spearman, after.spearman, 2),
        (before.dice_error, after.dice_error, 3),
        (before.ece, after.ece, 3),
    )
    for was, now, digits in pairs:
        yield f"{_told(was, digits)} → {_told(now, digits)}"


def _told(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")
