"""What each step of post-processing changed."""

from collections.abc import Iterator, Sequence
from statistics import mean

from volseg import formatting
from volseg.postprocessing import StepChange
from volseg.report.page.content import ReportContent
from volseg.visualization import html_page

HEADER = ("class", "step", "parts before", "parts after", "ml added", "ml removed", "scans changed")


def step_changes(facts: ReportContent) -> str:
    """A row a class and step, in the order in which steps are applied."""
    rows = list(_step_rows(facts))
    if not rows:
        return ""
    swatches = [facts.colour_index(row[0]) for row in rows]
    table = html_page.table(HEADER, rows, kind="wide pairs", swatches=swatches)
    lead = "Means over scans. Each step changes what the last one left. What touches at a corner is one part."
    return html_page.section(
        "What cleaning changed", lead, html_page.card("By class and step", table), kind="stack"
    )


def _step_rows(facts: ReportContent) -> Iterator[tuple[str, ...]]:
    for name in facts.classes:
        steps: dict[tuple[int, str], list[StepChange]] = {}
        for scan in facts.scans:
            for number, change in enumerate(scan.record.changes.get(name, ())):
                steps.setdefault((number, change.step), []).append(change)
        for (_, step), changes in sorted(steps.items()):
            yield name, step, *_mean_cells(changes)


def _mean_cells(changes: Sequence[StepChange]) -> tuple[str, ...]:
    """Means, and in how many scans the step changed anything."""
    means = (
        mean(one.parts_before for one in changes),
        mean(one.parts_after for one in changes),
        mean(one.added_ml for one in changes),
        mean(one.removed_ml for one in changes),
    )
    changed = sum(bool(one.added_ml or one.removed_ml) for one in changes)
    return *map(formatting.format_number, means), f"{changed} of {len(changes)}"
