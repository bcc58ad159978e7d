"""Table and notes of `volseg calibrate`: how well confidence tells Dice on cases that had no part in it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from volseg.formatting import format_count
from volseg.inference.confidence.calibration_file import FEWEST_CASES, CalibrationFigures, CalibrationFile

if TYPE_CHECKING:
    from rich.table import Table


def calibration_table(calibration: CalibrationFile) -> "Table":
    """A row a class and one of all together: figures before and after calibration."""
    from rich.table import Column, Table

    headers = ("Spearman\nwith Dice", "error\nof Dice", "bias of\nconfidence", "in\nrange")
    table = Table(Column("", overflow="fold"), *headers)
    for name, organ in calibration.organs.items():
        table.add_row(name, *_figure_cells(organ.before, organ.after))
    table.add_row("all", *_figure_cells(calibration.before, calibration.after))
    return table


def _figure_cells(before: CalibrationFigures, after: CalibrationFigures) -> Iterator[str]:
    for name, form in {"spearman": ".2f", "dice_error": ".3f", "bias": "+.3f"}.items():
        yield " -> ".join(_cell(getattr(figures, name), form) for figures in (before, after))
    yield _cell(after.inside, ".0%")


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def calibration_notes(calibration: CalibrationFile) -> Iterator[str]:
    """What so many cases can't tell, and the classes whose confidence says nothing."""
    if calibration.cases < FEWEST_CASES:
        yield f"{format_count(calibration.cases, 'case')}: too few to know how good confidence is"
    ranged = [name for name, organ in calibration.organs.items() if organ.estimate and organ.estimate.margin]
    if len(ranged) < len(calibration.organs):
        rest = ", ".join(name for name in calibration.organs if name not in ranged)
        yield f"{rest}: masks of too few cases to know the range in which the Dice of eight in ten lies"
    for name, organ in calibration.organs.items():
        if organ.after.ranks and not organ.after.beyond_chance:
            cases = format_count(organ.after.cases, "case")
            yield f"{name}: {cases} can't show that confidence ranks its masks"
        if organ.doubt:
            yield f"{name}: {organ.doubt}; `volseg infer` says so in place of a number"
