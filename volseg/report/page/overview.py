"""What there is to know at a glance: the key figures, and the means of each group of scans."""

from collections.abc import Iterator, Mapping

from volseg import formatting
from volseg.evaluation.bootstrap import LEAST_CASES, Estimate
from volseg.evaluation.scan_scores import GROUPS
from volseg.evaluation.summary import COLUMNS, MISSED, GroupSummary, Scores
from volseg.inference.tables import confidence_rows
from volseg.report.page.content import ReportContent, format_metric, format_metric_range, metric_heading
from volseg.visualization import html_page

KEY = ("Dice", "NSD2", "HD95")
LEAD = (
    f"Means over scans; small, the 95 % interval over cases where a group has {LEAST_CASES} or more. "
    "* within the labelled slices. +1: an organ that was missed or invented, whose distance is infinite, "
    "is not in the mean."
)
TRAINED_ON = "Training saw every scan that is scored here: this tells nothing of new patients. "


def key_figures(facts: ReportContent) -> str:
    """The key figures of the masks, or of training where there are no masks."""
    found = list(_score_figures(facts) if facts.scans or facts.failed else _training_figures(facts))
    return html_page.tiles(found) if found else ""


def _score_figures(facts: ReportContent) -> Iterator[tuple[str, str, str]]:
    counts = {
        "scored": len(facts.scores.scans) if facts.scores else 0,
        "without scores": len(facts.unscored),
        "failed": len(facts.failed),
    }
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    yield "Scans", formatting.format_number(len(facts.scans) + len(facts.failed)), told
    if not facts.scores:
        yield from _lowest_confidence(facts)
        return
    headline = facts.scores.headline
    for metric in KEY:
        found = headline.intervals.foreground_mean[metric]
        value = format_metric(metric, headline.foreground_mean[metric])
        yield metric_heading(metric), value, _interval_text(metric, found, headline)
    found = headline.intervals.kaggle
    yield "Competition's score", format_metric("", found.mean), _interval_text("", found, headline)
    worst = facts.scans[0]
    yield "Lowest Dice", format_metric("Dice", worst.dice), worst.name


def _lowest_confidence(facts: ReportContent) -> Iterator[tuple[str, str, str]]:
    """Without truth: the organ that is trusted least."""
    for row in confidence_rows([scan.record for scan in facts.scans])[:1]:
        dice = row.confidence.dice
        told = "not found" if dice is None else format_metric("Dice", dice)
        yield "Lowest confidence", told, f"{row.class_name} of {row.scan}"


def _interval_text(metric: str, found: Estimate, summary: GroupSummary) -> str:
    """The interval, if there is one, and what it is over."""
    return (
        f"{format_metric_range(metric, found.low, found.high)}, {summary.name}"
        if found.has_interval
        else summary.name
    )


def _training_figures(facts: ReportContent) -> Iterator[tuple[str, str, str]]:
    for one in facts.trained[:1]:
        told = one.run.facts
        several = len(facts.trained) > 1
        of = f"{len(facts.trained)} runs" if several else f"fold {told.fold}"
        yield "Network", one.run.config.network.name, f"{of} of {told.dataset}"
        apart = len(told.unseen_cases) + len(told.later_days) + len(told.hold_out)
        kept = f"{apart} kept apart{', in the first run' if several else ''}"
        yield "Trained on", formatting.format_count(len(told.train), "scan"), kept
    epochs = [one.epochs for one in facts.trained if one.epochs]
    if not epochs:
        return
    minutes = sum(rows[-1]["seconds"] for rows in epochs) / 60
    yield (
        "Steps",
        formatting.format_number(sum(rows[-1]["step"] for rows in epochs)),
        f"in {minutes:.0f} min",
    )
    best = [max(row.get("score", 0.0) for row in rows) for rows in epochs]
    if any(best):
        told_of = f", mean over {len(best)} runs" if len(best) > 1 else ""
        score = format_metric("Dice", sum(best) / len(best))
        yield "Best score", score, f"Dice of scans kept apart{told_of}"


def mean_scores(facts: ReportContent) -> str:
    """A table for each group of scans, and one of the runs where several made the masks."""
    if not facts.scores:
        return ""
    groups, headline = facts.scores.groups, facts.scores.headline
    if all(one.scans != headline.scans for one in groups.values()):
        groups = {headline.name: headline, **groups}
    cards = [html_page.card(_group_title(group), _group_table(group, facts)) for group in groups.values()]
    lead = f"{TRAINED_ON if headline.name == GROUPS['scan'] else ''}{LEAD}"
    return html_page.section("Scores", lead, *cards, _run_table(facts.scores), kind="stack")


def _group_title(group: GroupSummary) -> str:
    score = group.intervals.kaggle
    told = f"competition's score {format_metric('', score.mean)}"
    told += f" ({format_metric_range('', score.low, score.high)})" if score.has_interval else ""
    counts = (
        formatting.format_count(len(group.scans), "scan"),
        formatting.format_count(group.intervals.cases, "case"),
    )
    return f"{group.name.capitalize()}: {' of '.join(counts)}, {told}"


def _group_table(group: GroupSummary, facts: ReportContent) -> str:
    found = group.intervals
    rows = [(name, *_metric_cells(group.mean[name], found.mean[name])) for name in group.mean]
    if len(rows) > 1:
        rows.append(("mean", *_metric_cells(group.foreground_mean, found.foreground_mean)))
    header, swatches = (
        ("class", *map(metric_heading, COLUMNS)),
        [facts.colour_index(name) for name in group.mean],
    )
    table = html_page.table(header, rows, kind="wide pairs", swatches=swatches)
    return html_page.scroll_area(table, "Scores by class")


def _metric_cells(values: Mapping[str, float], intervals: Mapping[str, Estimate]) -> list[str]:
    return [_metric_cell(name, values, intervals[name]) for name in COLUMNS]


def _metric_cell(metric: str, values: Mapping[str, float], interval: Estimate) -> str:
    """A mean; below it, small, its interval and how many were infinite."""
    missed = values.get(metric + MISSED, 0)
    below = [format_metric_range(metric, interval.low, interval.high)] if interval.has_interval else []
    below += [f"+{missed:.0f}"] if missed else []
    told = format_metric(metric, values[metric])
    return f"{told}|{', '.join(below)}" if below else told


def _run_table(scores: Scores) -> str:
    """A line for each run: the mean of its classes' means over its own scans."""
    if not scores.by_run:
        return ""
    rows = [
        (run, str(len(one.scans)), *_metric_cells(one.foreground_mean, one.intervals.foreground_mean))
        for run, one in scores.by_run.items()
    ]
    table = html_page.table(("run", "scans", *map(metric_heading, COLUMNS)), rows, kind="wide pairs")
    return html_page.card("By run", html_page.scroll_area(table, "Scores by run"))
