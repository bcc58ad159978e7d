"""The runs that a report tells of: those that made masks, or one that was named."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from volseg.config.config import parse
from volseg.errors import UserError
from volseg.inference.confidence.calibration_file import Calibrated
from volseg.inference.ensemble import Ensemble
from volseg.inference.prediction_folder import Prediction
from volseg.report.page.content import Trained
from volseg.runs import locate, run_files
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.package import Package
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, CONFIG, METRICS
from volseg.tuning.tuning_file import Tuned

Found = tuple[tuple[Trained, ...], list[str]]
"""Runs, and what is to be noted of others."""


def trained(folder: Path) -> Found:
    """A run, or the finished folds of one that holds five.

    Raises:
        UserError: no run there, or one that doesn't fit this version.
    """
    by = Ensemble.open([str(folder)])
    return tuple(map(_trained, by.runs)), list(by.notes())


def made_by(records: Sequence[Prediction], predictions: Path) -> Found:
    """The runs that made these masks: those of their names whose weights are the same still.

    They are looked for under runs/ here and beside the folder of predictions.
    """
    found: dict[Path, Run] = {}
    notes = []
    for name, weights in dict.fromkeys((one.run, one.weights) for one in records if one.run):
        by = _found(name.split(" + "), weights, predictions)
        if by is None:
            notes.append(
                f"The run {name} is not under {run_files.RUNS}, or has other weights by now: its curves and "
                "config are not shown."
            )
        found |= {run.folder: run for run in (by.runs if by else ())}
    return tuple(map(_trained, found.values())), notes


def _found(names: Sequence[str], weights: str, predictions: Path) -> Ensemble | None:
    for place in (run_files.RUNS, predictions.parent / run_files.RUNS, Path()):
        try:
            by = Ensemble.open([str(place / name) for name in names])
            if weights in (by.weights, by.first.weights):
                return by
        except UserError:
            continue
    return None


def _trained(run: Run) -> Trained:
    config = (run.folder / CONFIG).read_text(encoding="utf-8")
    version = parse(config, str(run.folder / CONFIG)).get("version", "unknown")
    own = run.folder / POSTPROCESS
    if own.is_file():
        config += f"\n# {POSTPROCESS}\n{own.read_text(encoding='utf-8')}"
    weighed = isinstance(run, Package) or (run.folder / BEST).is_file()
    return Trained(
        locate.label(run.folder),
        run,
        str(version),
        config,
        tuple(_epochs(run.folder)),
        calibrated=Calibrated.of_run(run.folder, run.digest) if weighed else None,
        tuned=Tuned.of_run(run.folder, run.digest) if weighed else None,
    )


def _epochs(folder: Path) -> Iterator[Mapping[str, float]]:
    """The rows of metrics.csv, without the cells that are empty."""
    path = folder / METRICS
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: float(value) for name, value in row.items() if value}
