"""What was changed after masks were predicted, which they lack: steps by tuning, and calibration."""

from collections.abc import Iterator

from volseg.formatting import format_count
from volseg.report.page.content import ReportContent, ReportScan, RunInfo, distinct_run_values
from volseg.runs.config_files import step_lines
from volseg.tuning.tables import result_sentence


def tuned_later(content: ReportContent) -> str:
    """That masks lack the steps that their run was tuned to, with the scores before and after, or ''."""
    older = {info.name: list(_by_other_steps(info, content)) for info in content.trained}
    told = [
        f"{_scans_were(scans)} predicted before volseg tune changed the steps on {file.date}: the scores are "
        f"those before it. {result_sentence(file)} volseg infer makes masks by the new steps."
        for _, file in distinct_run_values(content, lambda info: info.tuned)
        if (scans := sum(len(older[info.name]) for info in content.trained if info.tuned == file))
    ]
    return " ".join(told)


def _by_other_steps(info: RunInfo, content: ReportContent) -> Iterator[ReportScan]:
    """The scans that a tuned run predicted by other steps than it has now; earlier versions don't tell."""
    if not info.tuned or not info.tuned.has_improvements:
        return
    steps = tuple(step_lines(info.run.config.postprocess))
    for scan in _predicted_by(info, content):
        if scan.record.steps and scan.record.steps != steps:
            yield scan


def calibrated_later(content: ReportContent) -> str:
    """That confidence was not calibrated yet, with how far it is off before and after, or ''."""
    told = []
    for _, file in distinct_run_values(content, lambda info: info.calibrated):
        infos = [info for info in content.trained if info.calibrated == file]
        scans = sum(_is_raw(scan) for info in infos for scan in _predicted_by(info, content))
        before, after = file.before.dice_error, file.after.dice_error
        if scans and before is not None and after is not None:
            told.append(
                f"{_scans_were(scans)} predicted before volseg calibrate: their confidence is that before "
                f"it, on validation scans {before:.3f} off the true Dice on average instead of {after:.3f}. "
                "volseg infer calibrates it."
            )
    return " ".join(told)


def _scans_were(count: int) -> str:
    return f"{format_count(count, 'scan')} here {'was' if count == 1 else 'were'}"


def _is_raw(scan: ReportScan) -> bool:
    """Whether confidence in any mask of a scan is not calibrated."""
    return any(not one.calibrated for one in scan.record.confidence.values())


def _predicted_by(info: RunInfo, content: ReportContent) -> Iterator[ReportScan]:
    """The scans that a run predicted, alone or, with its steps, as the first of several."""
    return (scan for scan in content.scans if scan.record.run.split(" + ")[0] == info.name)
