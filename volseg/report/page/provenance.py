"""Runs and versions that made the masks, their time, and their settings."""

from collections import Counter

from volseg.data.distribution import Spread, format_spread
from volseg.formatting import format_count
from volseg.inference.mask_folder import UNKNOWN
from volseg.report.page.content import ReportContent, RunInfo
from volseg.visualization.html_page import render

HASH = 12  # digits of a hash that tell weights apart


def versions_and_settings(content: ReportContent) -> str:
    """Runs, versions, seconds and configs, each config once."""
    records = [scan.record for scan in content.scans]
    counts = Counter((r.made_by or UNKNOWN, r.weights[:HASH] or "–", r.version) for r in records)
    configs: dict[str, list[str]] = {}
    for info in content.trained:
        configs.setdefault(info.config, []).append(info.name)
    if not records and not configs:
        return ""
    return render(
        "report/page/provenance.html.j2",
        masks=[(*key, str(count)) for key, count in counts.items()],
        seconds=_seconds_by_step([record.seconds for record in records if record.seconds]),
        runs=list(map(_run_row, content.trained)),
        configs=configs,
    )


def _seconds_by_step(scans: list[dict[str, float]]) -> list[tuple[str, str]]:
    """The spread of seconds over scans, a row a step, and of their sum."""
    steps = dict.fromkeys(step for seconds in scans for step in seconds)
    by_step = {step: [seconds[step] for seconds in scans if step in seconds] for step in steps}
    if scans:
        by_step["all"] = [sum(seconds.values()) for seconds in scans]
    return [(step, format_spread(Spread.from_values(values))) for step, values in by_step.items()]


def _run_row(info: RunInfo) -> tuple[str, ...]:
    splits = info.run.facts
    sets = (splits.train, splits.unseen_cases, splits.later_days, splits.hold_out)
    counts = (format_count(len(scans), "scan") if scans else "–" for scans in sets)
    return info.name, info.run.config.network.name, info.version, str(splits.fold), *counts
