"""What calibration changed: how well confidence tells Dice, and probabilities the labels."""

from collections.abc import Iterator

from volseg.inference.confidence.calibration_file import CalibrationFigures, CalibrationFile
from volseg.report.page.content import ReportContent, distinct_run_values
from volseg.visualization.html_page import render


def calibration_changes(content: ReportContent) -> str:
    """A table for each calibration of the runs: before, and after."""
    calibrations = [
        (names, file, _class_rows(file), [content.colour(name) for name in file.organs])
        for names, file in distinct_run_values(content, lambda run: run.calibrated)
    ]
    return render("report/page/calibration.html.j2", calibrations=calibrations) if calibrations else ""


def _class_rows(file: CalibrationFile) -> list[tuple[str, ...]]:
    rows = [
        (name, f"{entry.calibration.temperature:.2f}", *_before_after_cells(entry.before, entry.after))
        for name, entry in file.organs.items()
    ]
    return [*rows, ("all", "–", *_before_after_cells(file.before, file.after))]


def _before_after_cells(before: CalibrationFigures, after: CalibrationFigures) -> Iterator[str]:
    for name, form in {"spearman": ".2f", "dice_error": ".3f", "bias": "+.3f", "ece": ".3f"}.items():
        was, now = (_format_figure(getattr(figures, name), form) for figures in (before, after))
        yield f"{was} → {now}"
    yield _format_figure(after.inside, ".0%")


def _format_figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form).replace("-", "−")
