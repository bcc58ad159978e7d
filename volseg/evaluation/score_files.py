"""Scores as files: scores.csv, and summary.json in nnU-Net's shape, written and read again."""

import csv
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from volseg.evaluation import bootstrap
from volseg.evaluation.bootstrap import Estimate
from volseg.evaluation.intervals import ScoreIntervals
from volseg.evaluation.scan_scores import GROUPS, ScanScores
from volseg.evaluation.summary import By, GroupSummary, Scores
from volseg.metrics.kaggle_score import KaggleTerms
from volseg.system.files import write_text
from volseg.system.json_files import write_json

CSV, JSON = "scores.csv", "summary.json"
METHOD = (
    f"95 % expanded percentile bootstrap over cases, {bootstrap.RESAMPLES} resamples; "
    f"null below {bootstrap.LEAST_CASES} cases"
)


def write(scores: Scores, folder: Path) -> None:
    """Write scores.csv and summary.json (nnU-Net's shape, with the groups and Kaggle's score).

    summary.json is standard JSON: what is NaN or infinite in scores.csv is null there.

    Raises:
        UserError: the disk is full or the folder can't be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("scan", "class", "metric", "value"))
    writer.writerows((*row[:3], repr(float(row.value))) for row in scores.rows)
    table = text.getvalue()
    summary = {**_summary_json(scores), "scores_csv": _sha256(table.encode())}
    write_text(folder / CSV, table)
    write_json(folder / JSON, to_json_value(summary))


def read(folder: Path) -> dict[str, ScanScores]:
    """The scans of scores.csv and summary.json; none where they are missing, damaged or of two times.

    What the values are of is told by `made_from` only: nobody has looked at the masks yet.
    """
    try:
        table = (folder / CSV).read_bytes()
        summary = json.loads((folder / JSON).read_bytes())
        if summary["scores_csv"] != _sha256(table):
            return {}
        values: dict[str, dict[str, dict[str, float]]] = {}
        for row in csv.DictReader(io.StringIO(table.decode())):
            metrics = values.setdefault(row["scan"], {}).setdefault(row["class"], {})
            metrics[row["metric"]] = float(row["value"])
        scans = [_parse_scan(one, values[one["scan"]]) for one in summary["metric_per_case"]]
    except (OSError, ValueError, KeyError, TypeError):  # missing, or of an earlier version
        return {}
    return {one.scan: one for one in scans}


def as_read_back(one: ScanScores) -> ScanScores:
    """A scan's scores as they will be read again, so that kept and new ones can be compared."""
    return dataclasses.replace(one, part=_parse_kaggle_part(to_json_value(_kaggle_part_json(one.part))))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _summary_json(scores: Scores) -> dict[str, Any]:
    return {
        "headline": scores.headline.name,
        **_group_json(scores.headline),
        "interval_method": METHOD,
        "groups": {name: _group_json(summary) for name, summary in scores.groups.items()},
        "by": {
            what: {name: _group_json(summary) for name, summary in scores.summaries_by(what).items()}
            for what in get_args(By)
        },
        "metric_per_case": [
            {
                "scan": one.scan,
                "case": one.case,
                "day": one.day,
                "matrix": one.matrix,
                "group": GROUPS[one.seen],
                "run": one.run,
                "prediction_file": one.prediction_folder,
                "reference_file": one.labels_folder,
                "metrics": one.values,
                "kaggle": _kaggle_part_json(one.part),
                "made_from": one.made_from,
            }
            for one in scores.scans
        ],
        "runs": scores.runs,
        "by_run": {run: _group_json(summary) for run, summary in scores.by_run.items()},
        "skipped": scores.skipped,
        "failed": scores.failed,
    }


def _parse_scan(told: Mapping[str, Any], values: Mapping[str, Mapping[str, float]]) -> ScanScores:
    return ScanScores(
        scan=told["scan"],
        case=told["case"],
        seen=next(seen for seen, name in GROUPS.items() if name == told["group"]),
        values=values,
        part=_parse_kaggle_part(told["kaggle"]),
        prediction_folder=told["prediction_file"],
        labels_folder=told["reference_file"],
        run=told["run"],
        day=told["day"],
        matrix=told["matrix"],
        made_from=told["made_from"],
    )


def _kaggle_part_json(part: KaggleTerms) -> dict[str, Any]:
    """A scan's part of the competition's score: Dice as its mean over so many slices of each class."""
    counted = ~np.isnan(part.dice)
    total = np.where(counted, part.dice, 0).sum(axis=1)
    slices = counted.sum(axis=1)
    return {
        "dice": (total / np.where(slices, slices, math.nan)).tolist(),
        "slices": slices.tolist(),
        "hd": part.hd.tolist(),
        "hd_joint": part.hd_joint,
    }


def _parse_kaggle_part(told: Mapping[str, Any]) -> KaggleTerms:
    """A part with the same means over as many slices, so that it weighs the same in a score."""
    slices = np.array(told["slices"])
    dice = np.full((len(slices), max(slices.max(), 1)), math.nan)
    for row, mean, count in zip(dice, told["dice"], slices, strict=True):
        row[:count] = mean
    joint = told["hd_joint"]
    return KaggleTerms(dice, np.array(told["hd"], float), math.nan if joint is None else joint)


def _group_json(summary: GroupSummary) -> dict[str, Any]:
    return {
        "scans": summary.scans,
        "cases": summary.intervals.cases,
        "foreground_mean": summary.foreground_mean,
        "mean": summary.mean,
        "kaggle": dataclasses.asdict(summary.kaggle),
        "interval": _intervals_json(summary.intervals),
    }


def _intervals_json(intervals: ScoreIntervals) -> dict[str, Any] | None:
    """The ends of each interval, in the shape of the means; null where too few cases have a value."""
    if intervals.cases < bootstrap.LEAST_CASES:
        return None
    return {
        "foreground_mean": {name: _interval_ends(one) for name, one in intervals.foreground_mean.items()},
        "mean": {
            organ: {name: _interval_ends(one) for name, one in metrics.items()}
            for organ, metrics in intervals.mean.items()
        },
        "kaggle": _interval_ends(intervals.kaggle),
    }


def _interval_ends(estimate: Estimate) -> tuple[float, float] | None:
    return (estimate.low, estimate.high) if estimate.has_interval else None


def to_json_value(value: Any) -> Any:
    """The same as JSON can hold it, floats to 7 decimals."""
    if isinstance(value, Mapping):
        return {key: to_json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 7) if math.isfinite(value) else None
    return value
