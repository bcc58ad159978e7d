"""The runs that a report tells of: those that made masks, or one that was named."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from volseg.arguments import RUNS
from volseg.config.config import parse_yaml
from volseg.errors import UserError
from volseg.inference.confidence.calibration_file import CalibrationFile
from volseg.inference.ensemble import Ensemble
from volseg.inference.prediction_folder import Prediction
from volseg.report.page.content import RunInfo
from volseg.runs import locate
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.package import Package
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, CONFIG, METRICS
from volseg.tuning.tuning_file import TuningFile

RunsAndNotes = tuple[tuple[RunInfo, ...], list[str]]
"""Runs, and what is to be noted of others."""


def load_runs(folder: Path) -> RunsAndNotes:
    """A run, or the finished folds of one that holds five.

    Raises:
        UserError: no run there, or one that doesn't fit this version.
    """
    by = Ensemble.open([str(folder)])
    return tuple(map(_read_run_info, by.runs)), list(by.notes())


def find_prediction_runs(records: Sequence[Prediction], predictions: Path) -> RunsAndNotes:
    """The runs that made these masks: those of their names whose weights are the same still.

    They are looked for under runs/ here and beside the folder of predictions.
    """
    found: dict[Path, Run] = {}
    notes = []
    for name, weights in dict.fromkeys((one.run, one.weights) for one in records if one.run):
        by = _open_ensemble(name.split(" + "), weights, predictions)
        if by is None:
            notes.append(
                f"The run {name} is not under {RUNS}, or has other weights by now: its curves and "
                "config are not shown."
            )
        found |= {run.folder: run for run in (by.runs if by else ())}
    return tuple(map(_read_run_info, found.values())), notes


def _open_ensemble(names: Sequence[str], weights: str, predictions: Path) -> Ensemble | None:
    for place in (RUNS, predictions.parent / RUNS, Path()):
        try:
            by = Ensemble.open([str(place / name) for name in names])
            if weights in (by.weights_digest, by.first_run_only.weights_digest):
                return by
        except UserError:
            continue
    return None


def _read_run_info(run: Run) -> RunInfo:
    config = (run.folder / CONFIG).read_text(encoding="utf-8")
    version = parse_yaml(config, str(run.folder / CONFIG)).get("version", "unknown")
    own = run.folder / POSTPROCESS
    if own.is_file():
        config += f"\n# {POSTPROCESS}\n{own.read_text(encoding='utf-8')}"
    weighed = isinstance(run, Package) or (run.folder / BEST).is_file()
    return RunInfo(
        locate.run_label(run.folder),
        run,
        str(version),
        config,
        tuple(_read_epochs(run.folder)),
        calibrated=CalibrationFile.read_for_run(run.folder, run.weights_digest) if weighed else None,
        tuned=TuningFile.read_for_run(run.folder, run.weights_digest) if weighed else None,
    )


def _read_epochs(folder: Path) -> Iterator[Mapping[str, float]]:
    """The rows of metrics.csv, without the cells that are empty."""
    path = folder / METRICS
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: float(value) for name, value in row.items() if value}
