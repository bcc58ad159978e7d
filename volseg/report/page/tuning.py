"""What tuning changed, and how sure that is."""

from volseg.report.page.content import ReportContent, distinct_run_values
from volseg.tuning.objectives import OBJECTIVES
from volseg.tuning.tuning_file import ClassTuning, Gain, TuningFile, TuningRow
from volseg.visualization.html_page import render


def tuning_changes(content: ReportContent) -> str:
    """The result in a sentence, and what was tried, for each tuning of the runs."""
    tunings = [
        _tuning_tables(names, file, content)
        for names, file in distinct_run_values(content, lambda run: run.tuned)
    ]
    return render("report/page/tuning.html.j2", tunings=tunings) if tunings else ""


def _tuning_tables(runs: str, file: TuningFile, content: ReportContent) -> dict[str, object]:
    steps = sorted((row for row in file.rows if row.had_alternatives), key=lambda row: not row.kept)
    return {
        "runs": runs,
        "file": file,
        "result": result_sentence(file),
        "steps": list(map(_step_row, steps)),
        "step_colours": [content.colour(row.organ) for row in steps],
        "classes": [_class_row(name, tuning) for name, tuning in file.organs.items()],
        "class_colours": [content.colour(name) for name in file.organs],
    }


def result_sentence(file: TuningFile) -> str:
    """The result in one sentence that claims no more than its interval."""
    name, gain = OBJECTIVES[file.score].title.removeprefix("the "), file.gain
    if not any(row.kept for row in file.rows):
        return f"Nothing helped: the steps stay as they were, with a mean {name} of {file.before:.3f}."
    number = gain.estimate.to_text(sign="+").replace("-", "−")
    change = (
        f"the mean {name} went from {file.before:.3f} to {file.after:.3f}, a gain of {number} "
        f"({gain.estimate.interval_basis})"
    )
    if gain.is_significant:
        return f"The tuned steps are better: {change}."
    if gain.high is not None and gain.high < 0:
        return f"The tuned steps are worse: {change}."
    reason = "" if gain.low is None else ", which holds 0"
    return f"It is not sure that the tuned steps are better: {change}{reason}."


def _step_row(row: TuningRow) -> tuple[str, ...]:
    return row.organ, row.slot, row.was, row.chosen, _gain_cell(row.gain), _step_verdict(row)


def _class_row(name: str, tuning: ClassTuning) -> tuple[str, ...]:
    steps = (" · ".join(steps) or "none" for steps in (tuning.steps_before, tuning.steps_after))
    scores = ("–" if score is None else f"{score:.3f}" for score in (tuning.before, tuning.after))
    return name, *scores, _gain_cell(tuning.gain), *steps


def _gain_cell(gain: Gain) -> str:
    """The gain; below it, small, its interval or why it has none."""
    estimate = gain.estimate
    mean = "–" if gain.mean is None else f"{gain.mean:+.3f}"
    interval = f"{estimate.low:+.3f} to {estimate.high:+.3f}"
    return f"{mean}|{interval if estimate.has_interval else estimate.interval_basis}".replace("-", "−")


def _step_verdict(row: TuningRow) -> str:
    if not row.kept:
        return "not kept"
    if row.gain.is_significant:
        return "kept"
    return "kept, no interval" if row.gain.low is None else "kept, may be chance"
