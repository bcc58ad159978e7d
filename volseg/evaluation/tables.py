"""Scores as tables that fit a line of 80 columns: metrics by classes, and a line a run, case or day."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from volseg.evaluation.bootstrap import Estimate
from volseg.evaluation.summary import COLUMNS, MISSED, GroupSummary, Scores, metric_of, table_columns

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

ABREAST = 4
"""Classes side by side, their mean among them; more go into tables below."""
LARGE = 1000
"""From here on millimetres and millilitres are whole numbers."""
LEGEND = {
    "[": "[ ]: 95 % interval, from drawing cases",
    "*": "*: within the labelled slices",
    "+": "+n: n organs missed or invented, not in the mean",
}


def metric_tables(scores: Scores) -> "Group":
    """Metrics by classes with their intervals: tables for each group, those of the headline last."""
    from rich.console import Group

    groups = list(scores.groups.values())
    if len(groups) > 1:
        groups.append(scores.headline)
    return Group(*(table for group in groups for table in _group_tables(group)))


def _group_tables(group: GroupSummary) -> Iterator["Table"]:
    """One group: a table for each `ABREAST` classes, with a title above the first and a legend at the end."""
    columns = _class_columns(group)
    names = list(columns)
    for first in range(0, len(names), ABREAST):
        block = names[first : first + ABREAST]
        is_last = block[-1] == names[-1]
        table = _block_table({name: columns[name] for name in block}, kaggle=is_last and group.competition)
        if not first:
            table.title, table.title_justify = f"{group.name}: {_count_text(group)}", "left"
        if is_last:
            table.caption, table.caption_justify = _legend_text(columns), "left"
        yield table


def _class_columns(group: GroupSummary) -> dict[str, list[str]]:
    """The cells of each class and of their mean, from Dice down to Kaggle's score."""
    intervals = group.intervals
    columns = {
        name: [*_metric_cells(values, intervals.mean[name]), ""] for name, values in group.mean.items()
    }
    means = _metric_cells(group.foreground_mean, intervals.foreground_mean)
    return {**columns, "mean": [*means, _on_two_lines(intervals.kaggle)]}


def _block_table(columns: Mapping[str, Sequence[str]], *, kaggle: bool) -> "Table":
    """Rows of one line, or, where there are intervals, of two, which is narrower."""
    from rich.markup import escape
    from rich.table import Table

    high = any("\n" in cell for column in columns.values() for cell in column)
    table = Table("")
    for name in columns:
        header = name.replace("_", "_\n") if high else name
        table.add_column(escape(header), justify="right", overflow="fold")
    for place, name in enumerate([*table_columns().values(), *(["Kaggle"] if kaggle else [])]):
        header = name if high else name.replace("\n", " ")
        table.add_row(header, *(escape(column[place]) for column in columns.values()))
    return table


def summary_table(header: str, summaries: Mapping[str, GroupSummary]) -> "Table":
    """A line for each group, such as a run or a case: means with their 95 % intervals."""
    from rich.markup import escape
    from rich.table import Column, Table

    competition = all(summary.competition for summary in summaries.values())
    names = ["scans", "cases", "Dice", COLUMNS["HD95"], *(["Kaggle"] if competition else [])]
    table = Table(Column(header, no_wrap=True), *(Column(name, justify="right") for name in names))
    for name, summary in summaries.items():
        intervals = summary.intervals
        cells = [
            name,
            str(len(summary.scans)),
            str(intervals.cases),
            _on_two_lines(intervals.foreground_mean["Dice"]),
            _metric_cell("HD95", summary.foreground_mean),
            *([_on_two_lines(intervals.kaggle)] if competition else []),
        ]
        table.add_row(*map(escape, cells))
    return table


def _count_text(group: GroupSummary) -> str:
    """`48 scans of 16 cases`."""
    scans, cases = len(group.scans), group.intervals.cases
    return f"{scans} scan{'s' * (scans != 1)} of {cases} case{'s' * (cases != 1)}"


def _legend_text(columns: Mapping[str, Sequence[str]]) -> str:
    """The meaning of the signs in use, one a line."""
    used = "*" + "".join(cell for column in columns.values() for cell in column)
    return "\n".join(text for sign, text in LEGEND.items() if sign in used)


def _metric_cells(values: Mapping[str, float], intervals: Mapping[str, Estimate]) -> list[str]:
    return [_metric_cell(name, values, intervals[name]) for name in table_columns()]


def _metric_cell(name: str, values: Mapping[str, float], interval: Estimate | None = None) -> str:
    """A mean, the number of missed organs, and below them the interval where there is one."""
    missed = values.get(name + MISSED, 0)
    text = _format_value(name, values[name]) + (f" +{missed:.0f}" if missed else "")
    if interval is None or not interval.has_interval:
        return text
    return f"{text}\n[{_format_value(name, interval.low)}, {_format_value(name, interval.high)}]"


def _format_value(name: str, value: float) -> str:
    unit = metric_of(name).unit
    digits = 0 if unit and abs(value) >= LARGE else 1 if unit else 3
    return "-" if math.isnan(value) else f"{value:z.{digits}f}"


def _on_two_lines(estimate: Estimate) -> str:
    """`0.848 [0.810, 0.880]` in two lines."""
    return estimate.to_text().replace(" [", "\n[")
