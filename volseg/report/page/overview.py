"""Key figures, and the mean scores of each group of scans."""

from collections.abc import Iterator, Mapping

from volseg.evaluation.bootstrap import LEAST_CASES, Estimate
from volseg.evaluation.scan_scores import GROUPS
from volseg.evaluation.summary import MISSED, GroupSummary, table_columns
from volseg.formatting import format_count, format_number
from volseg.inference.tables import confidence_rows, format_confidence
from volseg.report.page.content import (
    ReportContent,
    format_metric,
    format_metric_range,
    metric_heading,
    score_name,
)
from volseg.report.page.later_changes import tuned_later
from volseg.report.page.metric_terms import terms_of_key_figures, terms_of_table
from volseg.visualization.html_page import render

KEY_METRICS = ("Dice", "NSD2", "HD95")
Tile = tuple[str, str, str]
"""A key figure: its name, its value and a remark."""


def key_figures(content: ReportContent) -> str:
    """The key figures of the masks, or of training where there are no masks."""
    masks = content.scans or content.failed
    figures = list(_score_figures(content) if masks else _training_figures(content))
    if not figures:
        return ""
    terms = terms_of_key_figures([name for name, _, _ in figures])
    return render("report/page/key_figures.html.j2", figures=figures, terms=terms)


def _score_figures(content: ReportContent) -> Iterator[Tile]:
    scores = content.scores
    counts = {
        "scored": len(scores.scans) if scores else 0,
        "without scores": len(content.unscored),
        "failed": len(content.failed),
    }
    remark = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    yield "Scans", format_number(len(content.scans) + len(content.failed)), remark
    if not scores:
        for row in confidence_rows([scan.record for scan in content.scans])[:1]:
            dice = row.confidence.dice
            value = format_confidence(row.confidence) if dice is None else format_metric("Dice", dice)
            yield "Lowest confidence", value, f"{row.class_name} of {row.scan}"
        return
    headline, intervals = scores.headline, scores.headline.intervals
    for metric in KEY_METRICS:
        value = format_metric(metric, headline.foreground_mean[metric])
        remark = _interval_text(metric, intervals.foreground_mean[metric], headline)
        yield metric_heading(metric), value, remark
    if headline.competition:
        score = format_metric("", intervals.kaggle.mean)
        yield "Competition's score", score, _interval_text("", intervals.kaggle, headline)
    worst = content.scans[0]
    yield "Lowest Dice", format_metric("Dice", worst.dice), worst.name


def _interval_text(metric: str, estimate: Estimate, group: GroupSummary) -> str:
    """The interval, if there is one, and the group of scans."""
    if not estimate.has_interval:
        return group.name
    return f"{format_metric_range(metric, estimate.low, estimate.high)}, {group.name}"


def _training_figures(content: ReportContent) -> Iterator[Tile]:
    runs = content.trained
    several = len(runs) > 1
    for info in runs[:1]:
        splits = info.run.facts
        remark = f"{f'{len(runs)} runs' if several else f'fold {splits.fold}'} of {splits.dataset}"
        yield "Network", info.run.config.network.name, remark
        apart = len(splits.unseen_cases) + len(splits.later_days) + len(splits.hold_out)
        taught = f"{len(splits.taught)} more by a teacher alone, " if splits.taught else ""
        remark = f"{taught}{apart} kept apart{', in the first run' if several else ''}"
        yield "Trained on", format_count(len(splits.train), "scan"), remark
    epochs = [info.epochs for info in runs if info.epochs]
    if epochs:
        steps, seconds = (sum(rows[-1][column] for rows in epochs) for column in ("step", "seconds"))
        yield "Steps", format_number(steps), f"in {seconds / 60:.0f} min"
    best = [max(row.get("score", 0.0) for row in rows) for rows in epochs]
    if any(best):
        over = f", mean over {len(best)} runs" if len(best) > 1 else ""
        yield (
            "Best score",
            format_metric("Dice", sum(best) / len(best)),
            f"{score_name(runs)} of scans that chose the weights{over}",
        )


def mean_scores(content: ReportContent) -> str:
    """A table for each group of scans, and one of the runs where several made the masks."""
    if not content.scores:
        return ""
    groups, headline = content.scores.groups, content.scores.headline
    if all(group.scans != headline.scans for group in groups.values()):
        groups = {headline.name: headline, **groups}
    return render(
        "report/page/scores.html.j2",
        all_trained_on=headline.name == GROUPS["scan"],
        least_cases=LEAST_CASES,
        terms=terms_of_table(),
        tuned_later=tuned_later(content),
        metrics=list(map(metric_heading, table_columns())),
        groups=[_group_table(group, content) for group in groups.values()],
        runs=[
            (run, str(len(group.scans)), *_mean_cells(group)) for run, group in content.scores.by_run.items()
        ],
    )


def _group_table(group: GroupSummary, content: ReportContent) -> dict[str, object]:
    """A group with a row for each class and for their mean."""
    intervals, score = group.intervals, group.intervals.kaggle
    rows = [(name, *_metric_cells(group.mean[name], intervals.mean[name])) for name in group.mean]
    if len(rows) > 1:
        rows.append(("mean", *_mean_cells(group)))
    return {
        "group": group,
        "score": format_metric("", score.mean) if group.competition else "",
        "interval": format_metric_range("", score.low, score.high) if score.has_interval else "",
        "rows": rows,
        "colours": [content.colour(name) for name in group.mean],
    }


def _mean_cells(group: GroupSummary) -> list[str]:
    return _metric_cells(group.foreground_mean, group.intervals.foreground_mean)


def _metric_cells(values: Mapping[str, float], intervals: Mapping[str, Estimate]) -> list[str]:
    return [_metric_cell(name, values, intervals[name]) for name in table_columns()]


def _metric_cell(metric: str, values: Mapping[str, float], interval: Estimate) -> str:
    """A mean; below it, small, its interval and how many were infinite."""
    missed = values.get(metric + MISSED, 0)
    below = [format_metric_range(metric, interval.low, interval.high)] if interval.has_interval else []
    below += [f"+{missed:.0f}"] if missed else []
    mean = format_metric(metric, values[metric])
    return f"{mean}|{', '.join(below)}" if below else mean
