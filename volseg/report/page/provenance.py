"""By what masks were made, in how much time, and by which settings."""

from collections import Counter
from collections.abc import Iterator
from html import escape

from volseg import formatting
from volseg.data import distribution
from volseg.data.distribution import Spread
from volseg.report.page.content import ReportContent, RunInfo
from volseg.visualization import html_page

SETS = ("unseen cases", "later days", "held out")
HASH = 12
"""Digits of a hash that tell weights apart."""


def versions_and_settings(facts: ReportContent) -> str:
    """Runs, versions, seconds and configs."""
    parts = [_mask_table(facts), _timing_table(facts), _run_table(facts), *_config_cards(facts)]
    return html_page.section("How it was made", "", *parts)


def _mask_table(facts: ReportContent) -> str:
    """Which run and which weights made how many scans' masks, by which version."""
    records = [scan.record for scan in facts.scans]
    if not records:
        return ""
    counts = Counter((one.run, one.weights[:HASH], one.version) for one in records)
    rows = [(run, weights, version, str(count)) for (run, weights, version), count in counts.items()]
    return html_page.card("Masks", html_page.table(("run", "weights", "volseg", "scans"), rows))


def _timing_table(facts: ReportContent) -> str:
    """Where the time of a scan went."""
    spent = [scan.record.seconds for scan in facts.scans if scan.record.seconds]
    if not spent:
        return ""
    steps = dict.fromkeys(step for one in spent for step in one)
    total = [sum(one.values()) for one in spent]
    by_step = {step: [one[step] for one in spent if step in one] for step in steps}
    rows = [
        (step, distribution.format_spread(Spread.from_values(values)))
        for step, values in {**by_step, "all": total}.items()
    ]
    title = "Seconds a scan"
    return html_page.card(title, html_page.table(("step", "median (5–95 %)"), rows))


def _run_table(facts: ReportContent) -> str:
    """What each run was trained on."""
    if not facts.trained:
        return ""
    header = ("run", "network", "volseg", "fold", "trained on", *SETS)
    return html_page.card(
        "Runs", html_page.table(header, map(_run_row, facts.trained), kind="wide"), full=True
    )


def _run_row(one: RunInfo) -> tuple[str, ...]:
    told = one.run.facts
    sets = (told.train, told.unseen_cases, told.later_days, told.hold_out)
    counts = (formatting.format_count(len(scans), "scan") if scans else "–" for scans in sets)
    return one.name, one.run.config.network.name, one.version, str(told.fold), *counts


def _config_cards(facts: ReportContent) -> Iterator[str]:
    """Each config once, with the runs that have it."""
    by_text: dict[str, list[str]] = {}
    for one in facts.trained:
        by_text.setdefault(one.config, []).append(one.name)
    for text, names in by_text.items():
        title = f"Config of {formatting.abbreviate_names(names)}"
        yield html_page.collapsible_card(title, html_page.scroll_area(f"<pre>{escape(text)}</pre>", "Config"))
