"""What tuning changed, and what new cases can expect of it."""

from volseg.report.page.content import ReportContent, distinct_run_values
from volseg.tuning.tables import result_sentence
from volseg.tuning.tuning_file import ClassTuning, Gain, TuningFile, TuningRow
from volseg.visualization.html_page import render


def tuning_changes(content: ReportContent) -> str:
    """The result in a sentence, and what was changed, for each tuning of the runs."""
    tunings = [
        _tuning_tables(names, file, content)
        for names, file in distinct_run_values(content, lambda run: run.tuned)
    ]
    return render("report/page/tuning.html.j2", tunings=tunings) if tunings else ""


def _tuning_tables(runs: str, file: TuningFile, content: ReportContent) -> dict[str, object]:
    return {
        "runs": runs,
        "file": file,
        "result": result_sentence(file).replace("-", "−"),
        "steps": list(map(_step_row, file.changes)),
        "step_colours": [content.colour(row.organ) for row in file.changes],
        "classes": [_class_row(name, tuning) for name, tuning in file.organs.items()],
        "class_colours": [content.colour(name) for name in file.organs],
    }


def _step_row(row: TuningRow) -> tuple[str, ...]:
    return row.organ, row.slot, row.was, row.chosen


def _class_row(name: str, tuning: ClassTuning) -> tuple[str, ...]:
    """Scores and gain, those after tuning only where there are cases enough to promise any."""
    steps = (" · ".join(steps) or "none" for steps in (tuning.steps_before, tuning.steps_after))
    after = tuning.after if tuning.gain.estimate.has_interval else None
    scores = ("–" if score is None else f"{score:.3f}" for score in (tuning.before, after))
    return name, *scores, _gain_cell(tuning.gain), *steps


def _gain_cell(gain: Gain) -> str:
    """The gain and below it, small, its interval; or why nothing can be promised."""
    estimate = gain.estimate
    if not estimate.has_interval:
        return f"–|{estimate.interval_basis}"
    return f"{estimate.mean:+.3f}|{estimate.low:+.3f} to {estimate.high:+.3f}".replace("-", "−")
