"""What tuning changed, and how sure that is."""

from collections.abc import Iterator

from volseg import formatting
from volseg.report.page.content import ReportContent, distinct_run_values
from volseg.tuning.objectives import OBJECTIVES
from volseg.tuning.tuning_file import ClassTuning, Gain, TuningFile, TuningRow
from volseg.visualization import html_page

STEPS = ("class", "step", "was", "chosen", "gain", "result")
CLASSES = ("class", "before", "after", "gain", "steps before", "steps after")
CAPTION = "Small: the 95 % interval over cases. A gain whose interval holds 0 may be chance."


def tuning_changes(facts: ReportContent) -> str:
    """The result in a sentence, and what was tried, for each tuning of the runs."""
    parts = [
        part
        for names, one in distinct_run_values(facts, lambda run: run.tuned)
        for part in _tuning_cards(names, one, facts)
    ]
    return html_page.section("What tuning changed", "", *parts, kind="stack")


def _tuning_cards(names: str, one: TuningFile, facts: ReportContent) -> Iterator[str]:
    yield html_page.card(
        names or "Result", html_page.prose([f"{result_sentence(one)} {_tuning_basis(one)}", *one.notes])
    )
    tried = sorted((row for row in one.rows if row.had_alternatives), key=lambda row: not row.kept)
    kinds = [facts.swatch_index(row.organ) for row in tried]
    table = html_page.table(STEPS, map(_step_row, tried), kind="wide tuned", swatches=kinds)
    if tried or one.untried:
        told = " ".join([CAPTION, *_omission_notes(one)])
        yield html_page.card("By step", html_page.scroll_area(table, "Steps that were tried"), told)
    kinds = [facts.swatch_index(organ) for organ in one.organs]
    rows = (_class_row(name, organ) for name, organ in one.organs.items())
    table = html_page.table(CLASSES, rows, kind="wide tuned", swatches=kinds)
    yield html_page.card("By class", table) if one.organs else ""


def _omission_notes(one: TuningFile) -> Iterator[str]:
    """What is not in the table."""
    if not all(row.had_alternatives for row in one.rows):
        yield "All other steps were tried: as they were was best on every choice of cases."
    if one.untried:
        yield f"No time was left to try {formatting.abbreviate_names(one.untried)}."


def result_sentence(one: TuningFile) -> str:
    """What came of it, in one sentence that claims no more than its interval."""
    name, gain = OBJECTIVES[one.score].title.removeprefix("the "), one.gain
    if not any(row.kept for row in one.rows):
        return f"Nothing helped: the steps stay as they were, with a mean {name} of {one.before:.3f}."
    told = f"the mean {name} went from {one.before:.3f} to {one.after:.3f}, {_gain_phrase(gain)}"
    if gain.is_significant:
        return f"The tuned steps are better: {told}."
    if gain.high is not None and gain.high < 0:
        return f"The tuned steps are worse: {told}."
    why = "" if gain.low is None else ", which holds 0"
    return f"It is not sure that the tuned steps are better: {told}{why}."


def _tuning_basis(one: TuningFile) -> str:
    of = f"{formatting.format_count(one.scans, 'scan')} of {formatting.format_count(one.cases, 'case')}"
    return (
        f"On {of}, each judged by steps that were chosen without its case. {one.date}, volseg "
        f"{one.version}, {max(one.seconds / 60, 0.1):.1f} min."
    )


def _gain_phrase(gain: Gain) -> str:
    """`a gain of +0.012 [+0.004, +0.020], 12 cases`."""
    told = gain.estimate.to_text(sign="+").replace("-", "−")
    return f"a gain of {told} ({gain.estimate.interval_basis})"


def _step_row(row: TuningRow) -> tuple[str, ...]:
    return row.organ, row.slot, row.was, row.chosen, _gain_cell(row.gain), _step_verdict(row)


def _class_row(name: str, organ: ClassTuning) -> tuple[str, ...]:
    steps = (" · ".join(steps) or "none" for steps in (organ.steps_before, organ.steps_after))
    scores = ("–" if one is None else f"{one:.3f}" for one in (organ.before, organ.after))
    return name, *scores, _gain_cell(organ.gain), *steps


def _gain_cell(gain: Gain) -> str:
    """The gain; below it, small, its interval or why it has none."""
    found = gain.estimate
    told = "–" if gain.mean is None else f"{found.mean:+.3f}"
    below = f"{found.low:+.3f} to {found.high:+.3f}" if found.has_interval else found.interval_basis
    return f"{told}|{below}".replace("-", "−")


def _step_verdict(row: TuningRow) -> str:
    if not row.kept:
        return "not kept"
    if row.gain.is_significant:
        return "kept"
    return "kept, no interval" if row.gain.low is None else "kept, may be chance"
