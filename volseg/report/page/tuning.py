"""What tuning changed, and how sure that is."""

from collections.abc import Iterator

from volseg import formatting
from volseg.report.page.content import Facts, of_runs
from volseg.tuning.objectives import GOALS
from volseg.tuning.tuning_file import Gain, OrganTuned, Row, Tuned
from volseg.visualization import html_page

STEPS = ("class", "step", "was", "chosen", "gain", "result")
CLASSES = ("class", "before", "after", "gain", "steps before", "steps after")
CAPTION = "Small: the 95 % interval over cases. A gain whose interval holds 0 may be chance."


def tuning(facts: Facts) -> str:
    """The result in a sentence, and what was tried, for each tuning of the runs."""
    parts = [
        part
        for names, one in of_runs(facts, lambda run: run.tuned)
        for part in _parts(names, one, facts)
    ]
    return html_page.section("What tuning changed", "", *parts, kind="stack")


def _parts(names: str, one: Tuned, facts: Facts) -> Iterator[str]:
    yield html_page.card(
        names or "Result", html_page.prose([f"{result(one)} {_made(one)}", *one.notes])
    )
    tried = sorted((row for row in one.rows if row.tells), key=lambda row: not row.kept)
    kinds = [facts.swatch(row.organ) for row in tried]
    table = html_page.table(STEPS, map(_step, tried), kind="wide tuned", swatches=kinds)
    if tried or one.untried:
        told = " ".join([CAPTION, *_left(one)])
        yield html_page.card("By step", html_page.scrolled(table, "Steps that were tried"), told)
    kinds = [facts.swatch(organ) for organ in one.organs]
    rows = (_class(name, organ) for name, organ in one.organs.items())
    table = html_page.table(CLASSES, rows, kind="wide tuned", swatches=kinds)
    yield html_page.card("By class", table) if one.organs else ""


def _left(one: Tuned) -> Iterator[str]:
    """What is not in the table."""
    if not all(row.tells for row in one.rows):
        yield "All other steps were tried: as they were was best on every choice of cases."
    if one.untried:
        yield f"No time was left to try {formatting.listed(one.untried)}."


def result(one: Tuned) -> str:
    """What came of it, in one sentence that claims no more than its interval."""
    name, gain = GOALS[one.score].title.removeprefix("the "), one.gain
    if not any(row.kept for row in one.rows):
        return (
            f"Nothing helped: the steps stay as they were, with a mean {name} of {one.before:.3f}."
        )
    told = f"the mean {name} went from {one.before:.3f} to {one.after:.3f}, {_said(gain)}"
    if gain.sure:
        return f"The tuned steps are better: {told}."
    if gain.high is not None and gain.high < 0:
        return f"The tuned steps are worse: {told}."
    why = "" if gain.low is None else ", which holds 0"
    return f"It is not sure that the tuned steps are better: {told}{why}."


def _made(one: Tuned) -> str:
    of = f"{formatting.plural(one.scans, 'scan')} of {formatting.plural(one.cases, 'case')}"
    return (
        f"On {of}, each judged by steps that were chosen without its case. {one.date}, volseg "
        f"{one.version}, {max(one.seconds / 60, 0.1):.1f} min."
    )


def _said(gain: Gain) -> str:
    """`a gain of +0.012 [+0.004, +0.020], 12 cases`."""
    told = gain.estimate.text(sign="+").replace("-", "−")
    return f"a gain of {told} ({gain.estimate.basis})"


def _step(row: Row) -> tuple[str, ...]:
    return row.organ, row.slot, row.was, row.chosen, _gain(row.gain), _verdict(row)


def _class(name: str, organ: OrganTuned) -> tuple[str, ...]:
    steps = (" · ".join(steps) or "none" for steps in (organ.steps_before, organ.steps_after))
    scores = ("–" if one is None else f"{one:.3f}" for one in (organ.before, organ.after))
    return name, *scores, _gain(organ.gain), *steps


def _gain(gain: Gain) -> str:
    """The gain; below it, small, its interval or why it has none."""
    found = gain.estimate
    told = "–" if gain.mean is None else f"{found.mean:+.3f}"
    below = f"{found.low:+.3f} to {found.high:+.3f}" if found.known else found.basis
    return f"{told}|{below}".replace("-", "−")


def _verdict(row: Row) -> str:
    if not row.kept:
        return "not kept"
    if row.gain.sure:
        return "kept"
    return "kept, no interval" if row.gain.low is None else "kept, may be chance"
