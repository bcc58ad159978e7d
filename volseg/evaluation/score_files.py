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
from volseg.evaluation.scan_scores import CHOSE, GROUPS, ScanScores
from volseg.evaluation.summary import By, GroupSummary, Scores
from volseg.metrics.kaggle_score import KaggleTerms
from volseg.system.files import is_foreign, write_text
from volseg.system.json_files import write_json

CSV, JSON = "scores.csv", "summary.json"
METHOD = (
    f"95 % expanded percentile bootstrap over cases, {bootstrap.RESAMPLES} resamples; "
    f"null below {bootstrap.LEAST_CASES} cases"
)


def write(scores: Scores, folder: Path) -> None:
    """Write scores.csv and summary.json (nnU-Net's shape, with the groups and Kaggle's score).

    summary.json is standard JSON: NaN and infinity are null there.
    """
    columns = scores.to_frame()[["scan", "class", "metric", "value"]]
    table = columns.to_csv(index=False, lineterminator="\n", na_rep="nan")
    summary = {**_summary_json(scores), "scores_csv": hashlib.sha256(table.encode()).hexdigest()}
    write_text(folder / CSV, table)
    write_json(folder / JSON, to_json_value(summary))


def foreign_files(folder: Path) -> list[Path]:
    """Files of other programs with the names of scores, such as nnU-Net's summary.json."""
    signs = {folder / CSV: "scan,class,metric,value", folder / JSON: '"scores_csv"'}
    return [path for path, sign in signs.items() if is_foreign(path, sign)]


def read(folder: Path) -> dict[str, ScanScores]:
    """The stored scores by scan; none where the files are missing, damaged or of two times.

    Only `made_from` says which masks and labels the scores are of; the masks themselves are not read.
    """
    try:
        table = (folder / CSV).read_bytes()
        summary = json.loads((folder / JSON).read_bytes())
        if summary["scores_csv"] != hashlib.sha256(table).hexdigest():
            return {}
        values: dict[str, dict[str, dict[str, float]]] = {}
        for row in csv.DictReader(io.StringIO(table.decode())):
            metrics = values.setdefault(row["scan"], {}).setdefault(row["class"], {})
            metrics[row["metric"]] = float(row["value"])
        return {scan["scan"]: _parse_scan(scan, values[scan["scan"]]) for scan in summary["metric_per_case"]}
    except (OSError, ValueError, KeyError, TypeError):  # missing, or of an earlier version
        return {}


def as_read_back(scan: ScanScores) -> ScanScores:
    """A scan's scores as `read` will return them, so that stored and new scores can be compared."""
    return dataclasses.replace(scan, part=_parse_kaggle_part(to_json_value(_kaggle_part_json(scan.part))))


def _summary_json(scores: Scores) -> dict[str, Any]:
    return {
        "headline": scores.headline.name,
        **_group_json(scores.headline),
        "interval_method": METHOD,
        "groups": _groups_json(scores.groups),
        "by": {key: _groups_json(scores.summaries_by(key)) for key in get_args(By)},
        "metric_per_case": [_scan_json(scan) for scan in scores.scans],
        "runs": scores.runs,
        "by_run": _groups_json(scores.by_run),
        "skipped": scores.skipped,
        "failed": scores.failed,
        "notes": scores.notes,
    }


def _scan_json(scan: ScanScores) -> dict[str, Any]:
    return {
        "scan": scan.scan,
        "case": scan.case,
        "day": scan.day,
        "matrix": scan.matrix,
        "group": scan.group,
        "chose_weights": scan.chose_weights,
        "run": scan.run,
        "prediction_file": scan.prediction_folder,
        "reference_file": scan.labels_folder,
        "metrics": scan.values,
        "kaggle": _kaggle_part_json(scan.part),
        "made_from": scan.made_from,
        "notes": scan.notes,
        "competition": scan.competition,
    }


def _parse_scan(scan: Mapping[str, Any], values: Mapping[str, Mapping[str, float]]) -> ScanScores:
    return ScanScores(
        scan=scan["scan"],
        case=scan["case"],
        seen=next(seen for seen, name in GROUPS.items() if name == scan["group"].removesuffix(CHOSE)),
        chose_weights=scan["chose_weights"],
        values=values,
        part=_parse_kaggle_part(scan["kaggle"]),
        prediction_folder=scan["prediction_file"],
        labels_folder=scan["reference_file"],
        run=scan["run"],
        day=scan["day"],
        matrix=scan["matrix"],
        made_from=scan["made_from"],
        notes=tuple(scan["notes"]),
        competition=scan.get("competition", False),
    )


def _kaggle_part_json(part: KaggleTerms) -> dict[str, Any]:
    """A scan's terms of the competition's score: by class the mean Dice and the number of its slices."""
    counted = ~np.isnan(part.dice)
    total = np.where(counted, part.dice, 0).sum(axis=1)
    slices = counted.sum(axis=1)
    return {
        "dice": (total / np.where(slices, slices, math.nan)).tolist(),
        "slices": slices.tolist(),
        "hd": part.hd.tolist(),
        "hd_joint": part.hd_joint,
    }


def _parse_kaggle_part(part: Mapping[str, Any]) -> KaggleTerms:
    """Terms with the same mean Dice in as many slices, so that they have the same weight in a score."""
    slices = np.array(part["slices"])
    dice = np.full((len(slices), max(slices.max(), 1)), math.nan)
    for row, mean, count in zip(dice, part["dice"], slices, strict=True):
        row[:count] = mean
    joint = part["hd_joint"]
    return KaggleTerms(dice, np.array(part["hd"], float), math.nan if joint is None else joint)


def _groups_json(summaries: Mapping[str, GroupSummary]) -> dict[str, Any]:
    return {name: _group_json(summary) for name, summary in summaries.items()}


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
        "foreground_mean": _interval_ends(intervals.foreground_mean),
        "mean": {name: _interval_ends(metrics) for name, metrics in intervals.mean.items()},
        **_interval_ends({"kaggle": intervals.kaggle}),
    }


def _interval_ends(estimates: Mapping[str, Estimate]) -> dict[str, tuple[float, float] | None]:
    return {name: (one.low, one.high) if one.has_interval else None for name, one in estimates.items()}


def to_json_value(value: Any) -> Any:
    """The same value as JSON can hold it, floats to 7 decimals."""
    if isinstance(value, Mapping):
        return {key: to_json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 7) if math.isfinite(value) else None
    return value
