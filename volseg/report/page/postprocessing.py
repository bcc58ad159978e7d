"""What each step of post-processing changed."""

from collections.abc import Iterator, Sequence
from statistics import mean

from volseg.formatting import format_number
from volseg.postprocessing import StepChange
from volseg.report.page.content import ReportContent
from volseg.visualization.html_page import render

COLUMNS = ("parts_before", "parts_after", "added_ml", "removed_ml")


def step_changes(content: ReportContent) -> str:
    """A row a class and step, in the order in which steps are applied."""
    rows = list(_step_rows(content))
    colours = [content.colour(name) for name, *_ in rows]
    return render("report/page/postprocessing.html.j2", rows=rows, colours=colours) if rows else ""


def _step_rows(content: ReportContent) -> Iterator[tuple[str, ...]]:
    for name in content.classes:
        steps: dict[tuple[int, str], list[StepChange]] = {}
        for scan in content.scans:
            for number, change in enumerate(scan.record.changes.get(name, ())):
                steps.setdefault((number, change.step), []).append(change)
        for (_, step), changes in sorted(steps.items()):
            yield name, step, *_mean_cells(changes)


def _mean_cells(changes: Sequence[StepChange]) -> tuple[str, ...]:
    """Means over scans, and in how many scans the step changed anything."""
    means = (mean(getattr(change, column) for change in changes) for column in COLUMNS)
    changed = sum(bool(change.added_ml or change.removed_ml) for change in changes)
    return *map(format_number, means), f"{changed} of {len(changes)}"
