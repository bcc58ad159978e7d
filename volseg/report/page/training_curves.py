"""How training went: its curves."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from volseg.report.page.content import Facts, Trained, shown
from volseg.visualization import html_page
from volseg.visualization.line_charts import Line, curves
from volseg.visualization.stylesheet import colour

SETS = {"unseen_cases": "unseen cases", "later_days": "later days of seen cases"}
COLUMNS = {"epoch": "epoch", "step": "step", "loss": "loss", "lr": "learning rate", **SETS}


def learning(facts: Facts) -> str:
    """Loss and validation scores by step: a line a set and class, or a line a run where there are several."""
    trained = [one for one in facts.trained if one.epochs]
    if not trained:
        return ""
    several = len(trained) > 1
    plots = [_plot("Loss", _by_run(trained, "loss"))]
    if several:
        plots.append(_plot("Dice of the scans kept apart", _by_run(trained, "score")))
    else:
        plots += _validation(trained[0])
    plots.append(_plot("Learning rate", _by_run(trained, "lr")))
    best = _best_by_run(trained) if several else _best_by_class(trained[0])
    lead = f"{'A line a run. ' if several else ''}Validation is on whole scans, by the path of inference."
    return html_page.section("Learning", lead, *plots, best, _figures(trained))


def _best(one: Trained) -> Mapping[str, float]:
    """The epoch whose weights were kept; empty where none was scored."""
    scored = [row for row in one.epochs if "score" in row]
    return max(scored, key=lambda row: row["score"], default={})


def _best_by_class(one: Trained) -> str:
    """A row a class at the best epoch, and a column a set."""
    best, sets = _best(one), _sets(one)
    if not best:
        return ""
    rows = [
        (name, *(_told(f"{key}_{name}", best) for key in sets)) for name in one.run.facts.classes
    ]
    rows.append(("mean", *(_told(key, best) for key in sets)))
    title = f"Dice at the best epoch, {best['epoch']:.0f}"
    swatches = range(len(rows) - 1)
    return html_page.card(
        title, html_page.table(("class", *sets.values()), rows, swatches=swatches)
    )


def _best_by_run(trained: Sequence[Trained]) -> str:
    """A row a run, at its best epoch."""
    columns = {"epoch": "best epoch", "score": "Dice", **SETS}
    rows = [(one.name, *(_told(key, _best(one)) for key in columns)) for one in trained]
    table = html_page.table(("run", *columns.values()), rows, kind="wide")
    return html_page.card("Best epochs", table, full=True)


def _sets(one: Trained) -> dict[str, str]:
    """The sets that a run was validated on."""
    return {key: name for key, name in SETS.items() if any(key in row for row in one.epochs)}


def _plot(title: str, lines: Sequence[Line]) -> str:
    """One plot, with a legend where its lines differ; "" where no line has a number."""
    drawn = curves(lines, across="step", unit="", label=title)
    if not drawn:
        return ""
    keys = [(line.name, f"{line.kind}{' dashed' if line.dashed else ''}") for line in lines]
    told = (
        html_page.legend(keys) if len(set(keys)) > 1 and len({kind for _, kind in keys}) > 1 else ""
    )
    return html_page.figure(title, told + drawn)


def _by_run(trained: Sequence[Trained], column: str) -> list[Line]:
    return [Line(one.name, _points(one, column), "plain") for one in trained]


def _points(one: Trained, column: str) -> list[tuple[float, float]]:
    return [(row["step"], row[column]) for row in one.epochs if column in row]


def _validation(one: Trained) -> Iterator[str]:
    """Dice by set, and by class of each set."""
    sets = _sets(one)
    yield _plot(
        "Dice of the scans kept apart",
        [
            Line(name, _points(one, key), "plain", dashed=key != "unseen_cases")
            for key, name in sets.items()
        ],
    )
    for key, name in sets.items():
        classes = one.run.facts.classes
        lines = [Line(c, _points(one, f"{key}_{c}"), colour(i)) for i, c in enumerate(classes)]
        yield _plot(f"Dice by class, {name}", lines)


def _figures(trained: Sequence[Trained]) -> str:
    """Each epoch's numbers, for those who can't see the plots or want them exactly."""
    return html_page.folded("Every epoch in figures", "".join(map(_epochs, trained)))


def _epochs(one: Trained) -> str:
    columns = [key for key in COLUMNS if any(key in row for row in one.epochs)]
    rows = [[_told(key, row) for key in columns] for row in one.epochs]
    table = html_page.table([COLUMNS[key] for key in columns], rows)
    return f"<h3>{escape(one.name)}</h3>{html_page.scrolled(table, f'Epochs of {one.name}')}"


def _told(column: str, row: Mapping[str, float]) -> str:
    if column not in row:
        return "–"
    value = row[column]
    if column in ("epoch", "step"):
        return f"{value:.0f}"
    return f"{value:.2e}" if column == "lr" else shown("Dice", value)
