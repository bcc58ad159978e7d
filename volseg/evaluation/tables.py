"""Scores as tables that fit a line of 80 columns: metrics by classes, and a line a run, case or day."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from volseg.evaluation.bootstrap import Estimate
from volseg.evaluation.summary import COLUMNS, MISSED, By, Scores, Summary, metric_of

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

ABREAST = 4
"""Classes side by side, their mean among them; more go into tables below."""
LARGE = 1000
"""From here on millimetres and millilitres are whole."""
LEGEND = {
    "[": "[ ]: 95 % interval, from drawing cases",
    "*": "*: within the labelled slices",
    "+": "+n: n organs missed or invented, not in the mean",
}


def table(scores: Scores) -> "Group":
    """Metrics by classes with their intervals: a table for each group, that of the headline last."""
    from rich.console import Group

    groups = list(scores.groups.values())
    if len(groups) > 1:
        groups.append(scores.headline)
    return Group(*(part for group in groups for part in _group(group)))


def run_table(scores: Scores) -> "Table":
    """A line for each run: means over its own scans, and where there is one their 95 % interval."""
    return _lines("run", scores.by_run)


def table_by(scores: Scores, what: By) -> "Table":
    """The same for each case, day or matrix size."""
    return _lines(what, scores.by(what))


def _group(group: Summary) -> Iterator["Table"]:
    """One group: a table for so many classes as stand side by side, what is told of it around them."""
    columns = _columns(group)
    names = list(columns)
    blocks = [names[first : first + ABREAST] for first in range(0, len(names), ABREAST)]
    for block in blocks:
        shown = _block({name: columns[name] for name in block}, kaggle=block is blocks[-1])
        if block is blocks[0]:
            shown.title, shown.title_justify = f"{group.name}: {_counted(group)}", "left"
        if block is blocks[-1]:
            shown.caption, shown.caption_justify = _legend(columns), "left"
        yield shown


def _columns(group: Summary) -> dict[str, list[str]]:
    """The cells of each class and of their mean, from Dice down to Kaggle's score."""
    found = group.intervals
    columns = {name: [*_cells(values, found.mean[name]), ""] for name, values in group.mean.items()}
    means = _cells(group.foreground_mean, found.foreground_mean)
    return {**columns, "mean": [*means, _stacked(found.kaggle.text())]}


def _block(columns: Mapping[str, Sequence[str]], *, kaggle: bool) -> "Table":
    """Rows of one line, or, where there are intervals, of two, which is narrower."""
    from rich.markup import escape
    from rich.table import Table

    high = any("\n" in cell for column in columns.values() for cell in column)
    shown = Table("")
    for name in columns:
        header = name.replace("_", "_\n") if high else name
        shown.add_column(escape(header), justify="right", overflow="fold")
    for place, name in enumerate([*COLUMNS.values(), *(["Kaggle"] if kaggle else [])]):
        header = name if high else name.replace("\n", " ")
        shown.add_row(header, *(escape(column[place]) for column in columns.values()))
    return shown


def _lines(header: str, summaries: Mapping[str, Summary]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    shown = Table()
    shown.add_column(header, no_wrap=True)
    for name in ("scans", "cases", "Dice", COLUMNS["HD95"], "Kaggle"):
        shown.add_column(name, justify="right")
    for name, one in summaries.items():
        found = one.intervals
        counts = (str(len(one.scans)), str(found.cases))
        dice, kaggle = found.foreground_mean["Dice"], found.kaggle
        told = (_stacked(dice.text()), _cell("HD95", one.foreground_mean), _stacked(kaggle.text()))
        shown.add_row(escape(name), *counts, *map(escape, told))
    return shown


def _counted(group: Summary) -> str:
    """`48 scans of 16 cases`."""
    scans, cases = len(group.scans), group.intervals.cases
    return f"{scans} scan{'s' * (scans != 1)} of {cases} case{'s' * (cases != 1)}"


def _legend(columns: Mapping[str, Sequence[str]]) -> str:
    """What the signs in use mean, one a line."""
    used = "*" + "".join(cell for column in columns.values() for cell in column)
    return "\n".join(text for sign, text in LEGEND.items() if sign in used)


def _cells(values: Mapping[str, float], intervals: Mapping[str, Estimate]) -> list[str]:
    return [_cell(name, values, intervals[name]) for name in COLUMNS]


def _cell(name: str, values: Mapping[str, float], interval: Estimate | None = None) -> str:
    """A mean, what it misses, and below them its interval where there is one."""
    missed = values.get(name + MISSED, 0)
    text = _number(name, values[name]) + (f" +{missed:.0f}" if missed else "")
    if interval is None or not interval.known:
        return text
    return f"{text}\n[{_number(name, interval.low)}, {_number(name, interval.high)}]"


def _number(name: str, value: float) -> str:
    unit = metric_of(name).unit
    digits = 0 if unit and abs(value) >= LARGE else 1 if unit else 3
    return "-" if math.isnan(value) else f"{value:z.{digits}f}"


def _stacked(text: str) -> str:
    """`0.848 [0.810, 0.880]` in two lines."""
    return text.replace(" [", "\n[")
