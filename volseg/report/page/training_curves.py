"""Training: its curves, its best epochs, and every epoch in figures."""

from collections.abc import Iterator, Mapping, Sequence

from volseg.report.page.content import ReportContent, RunInfo, format_metric, score_name
from volseg.visualization.html_page import css_colour, render
from volseg.visualization.line_charts import LineSeries, line_chart
from volseg.visualization.svg import Figure

SETS = {"unseen_cases": "unseen cases", "later_days": "later days of seen cases"}
APART = "of the scans kept apart"
COLUMNS = {"epoch": "epoch", "step": "step", "loss": "loss", "lr": "learning rate", **SETS}


def learning_curves(content: ReportContent) -> str:
    """Loss and validation scores by step: a line a set and class, or a line a run where there are several."""
    runs = [run for run in content.trained if run.epochs]
    if not runs:
        return ""
    several = len(runs) > 1
    charts = [
        _line_figure("Loss", _lines_by_run(runs, "loss")),
        *(
            [_line_figure(f"{score_name(runs)} {APART}", _lines_by_run(runs, "score"))]
            if several
            else _validation_charts(runs[0])
        ),
        _line_figure("Learning rate", _lines_by_run(runs, "lr")),
    ]
    return render(
        "report/page/training_curves.html.j2",
        several=several,
        charts=[chart for chart in charts if chart],
        best=_best_by_run(runs) if several else _best_by_class(runs[0]),
        epochs=[_epoch_table(run) for run in runs],
    )


def _best_epoch(run: RunInfo) -> Mapping[str, float]:
    """The epoch of the best weights; empty where none was scored."""
    scored = [row for row in run.epochs if "score" in row]
    return max(scored, key=lambda row: row["score"], default={})


def _best_by_class(run: RunInfo) -> dict[str, object]:
    """A row a class at the best epoch, and a column a set; empty where no epoch was scored."""
    best, sets = _best_epoch(run), _validation_sets(run)
    if not best:
        return {}
    classes = run.run.facts.classes
    rows = [(name, *(_format_cell(f"{key}_{name}", best) for key in sets)) for name in classes]
    return {
        "epoch": _format_cell("epoch", best),
        "header": ["class", *sets.values()],
        "rows": [*rows, ("mean", *(_format_cell(key, best) for key in sets))],
        "colours": [css_colour(index) for index in range(len(classes))],
    }


def _best_by_run(runs: Sequence[RunInfo]) -> dict[str, object]:
    """A row a run, at its best epoch."""
    columns = {"epoch": "best epoch", "score": score_name(runs), **SETS}
    rows = [(run.name, *(_format_cell(key, _best_epoch(run)) for key in columns)) for run in runs]
    return {"header": ["run", *columns.values()], "rows": rows}


def _validation_sets(run: RunInfo) -> dict[str, str]:
    """The sets that a run was validated on."""
    return {key: name for key, name in SETS.items() if any(key in row for row in run.epochs)}


def _line_figure(title: str, lines: Sequence[LineSeries]) -> Figure | None:
    """A chart, with a legend where its lines differ; None where no line has a number."""
    chart = line_chart(lines, across="step", unit="", label=title)
    keys = [(line.name, line.css_classes) for line in lines]
    differ = len({kind for _, kind in keys}) > 1
    return Figure(title, chart, keys=keys if differ else ()) if chart else None


def _lines_by_run(runs: Sequence[RunInfo], column: str) -> list[LineSeries]:
    return [LineSeries(run.name, _points_by_step(run, column), "plain") for run in runs]


def _points_by_step(run: RunInfo, column: str) -> list[tuple[float, float]]:
    return [(row["step"], row[column]) for row in run.epochs if column in row]


def _validation_charts(run: RunInfo) -> Iterator[Figure | None]:
    """Dice by set, and by class of each set."""
    sets = _validation_sets(run)
    yield _line_figure(
        f"Dice {APART}",
        [
            LineSeries(name, _points_by_step(run, key), "plain", dashed=key != "unseen_cases")
            for key, name in sets.items()
        ],
    )
    for key, name in sets.items():
        lines = [
            LineSeries(class_name, _points_by_step(run, f"{key}_{class_name}"), css_colour(index))
            for index, class_name in enumerate(run.run.facts.classes)
        ]
        yield _line_figure(f"Dice by class, {name}", lines)


def _epoch_table(run: RunInfo) -> tuple[str, list[str], list[list[str]]]:
    """The run, the header, and a row an epoch."""
    columns = [key for key in COLUMNS if any(key in row for row in run.epochs)]
    rows = [[_format_cell(key, row) for key in columns] for row in run.epochs]
    return run.name, [COLUMNS[key] for key in columns], rows


def _format_cell(column: str, row: Mapping[str, float]) -> str:
    if column not in row:
        return "–"
    value = row[column]
    if column in ("epoch", "step"):
        return f"{value:.0f}"
    return f"{value:.2e}" if column == "lr" else format_metric("Dice", value)
