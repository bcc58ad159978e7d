"""How training went: its curves."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from volseg.report.page.content import ReportContent, RunInfo, format_metric
from volseg.visualization import html_page
from volseg.visualization.line_charts import LineSeries, line_chart
from volseg.visualization.stylesheet import css_colour

SETS = {"unseen_cases": "unseen cases", "later_days": "later days of seen cases"}
COLUMNS = {"epoch": "epoch", "step": "step", "loss": "loss", "lr": "learning rate", **SETS}


def learning_curves(facts: ReportContent) -> str:
    """Loss and validation scores by step: a line a set and class, or a line a run where there are several."""
    trained = [one for one in facts.trained if one.epochs]
    if not trained:
        return ""
    several = len(trained) > 1
    plots = [_line_figure("Loss", _lines_by_run(trained, "loss"))]
    if several:
        plots.append(_line_figure("Dice of the scans kept apart", _lines_by_run(trained, "score")))
    else:
        plots += _validation_charts(trained[0])
    plots.append(_line_figure("Learning rate", _lines_by_run(trained, "lr")))
    best = _best_by_run(trained) if several else _best_by_class(trained[0])
    lead = f"{'A line a run. ' if several else ''}Validation is on whole scans, by the path of inference."
    return html_page.section("Learning", lead, *plots, best, _all_epochs(trained))


def _best_epoch(one: RunInfo) -> Mapping[str, float]:
    """The epoch whose weights were kept; empty where none was scored."""
    scored = [row for row in one.epochs if "score" in row]
    return max(scored, key=lambda row: row["score"], default={})


def _best_by_class(one: RunInfo) -> str:
    """A row a class at the best epoch, and a column a set."""
    best, sets = _best_epoch(one), _validation_sets(one)
    if not best:
        return ""
    rows = [(name, *(_format_cell(f"{key}_{name}", best) for key in sets)) for name in one.run.facts.classes]
    rows.append(("mean", *(_format_cell(key, best) for key in sets)))
    title = f"Dice at the best epoch, {best['epoch']:.0f}"
    swatches = range(len(rows) - 1)
    return html_page.card(title, html_page.table(("class", *sets.values()), rows, swatches=swatches))


def _best_by_run(trained: Sequence[RunInfo]) -> str:
    """A row a run, at its best epoch."""
    columns = {"epoch": "best epoch", "score": "Dice", **SETS}
    rows = [(one.name, *(_format_cell(key, _best_epoch(one)) for key in columns)) for one in trained]
    table = html_page.table(("run", *columns.values()), rows, kind="wide")
    return html_page.card("Best epochs", table, full=True)


def _validation_sets(one: RunInfo) -> dict[str, str]:
    """The sets that a run was validated on."""
    return {key: name for key, name in SETS.items() if any(key in row for row in one.epochs)}


def _line_figure(title: str, lines: Sequence[LineSeries]) -> str:
    """One plot, with a legend where its lines differ; "" where no line has a number."""
    drawn = line_chart(lines, across="step", unit="", label=title)
    if not drawn:
        return ""
    keys = [(line.name, f"{line.kind}{' dashed' if line.dashed else ''}") for line in lines]
    told = html_page.legend(keys) if len(set(keys)) > 1 and len({kind for _, kind in keys}) > 1 else ""
    return html_page.figure(title, told + drawn)


def _lines_by_run(trained: Sequence[RunInfo], column: str) -> list[LineSeries]:
    return [LineSeries(one.name, _points_by_step(one, column), "plain") for one in trained]


def _points_by_step(one: RunInfo, column: str) -> list[tuple[float, float]]:
    return [(row["step"], row[column]) for row in one.epochs if column in row]


def _validation_charts(one: RunInfo) -> Iterator[str]:
    """Dice by set, and by class of each set."""
    sets = _validation_sets(one)
    yield _line_figure(
        "Dice of the scans kept apart",
        [
            LineSeries(name, _points_by_step(one, key), "plain", dashed=key != "unseen_cases")
            for key, name in sets.items()
        ],
    )
    for key, name in sets.items():
        classes = one.run.facts.classes
        lines = [
            LineSeries(c, _points_by_step(one, f"{key}_{c}"), css_colour(i)) for i, c in enumerate(classes)
        ]
        yield _line_figure(f"Dice by class, {name}", lines)


def _all_epochs(trained: Sequence[RunInfo]) -> str:
    """Each epoch's numbers, for those who can't see the plots or want them exactly."""
    return html_page.collapsible_card("Every epoch in figures", "".join(map(_epoch_table, trained)))


def _epoch_table(one: RunInfo) -> str:
    columns = [key for key in COLUMNS if any(key in row for row in one.epochs)]
    rows = [[_format_cell(key, row) for key in columns] for row in one.epochs]
    table = html_page.table([COLUMNS[key] for key in columns], rows)
    return f"<h3>{escape(one.name)}</h3>{html_page.scroll_area(table, f'Epochs of {one.name}')}"


def _format_cell(column: str, row: Mapping[str, float]) -> str:
    if column not in row:
        return "–"
    value = row[column]
    if column in ("epoch", "step"):
        return f"{value:.0f}"
    return f"{value:.2e}" if column == "lr" else format_metric("Dice", value)
