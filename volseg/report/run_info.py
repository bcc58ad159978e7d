"""The runs of a report: those that made masks, or one that was named."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from volseg.arguments import RUNS
from volseg.config.config import parse_sections
from volseg.errors import UserError
from volseg.formatting import join_names
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
"""Runs, and remarks on others."""


def load_runs(folder: Path) -> RunsAndNotes:
    """A run, or the finished folds of one that holds five.

    Raises:
        UserError: no run there, or one that doesn't fit this version.
    """
    ensemble = Ensemble.open([str(folder)])
    infos = tuple(map(_read_run_info, ensemble.runs))
    return infos, [*ensemble.notes(), *_problem_notes(infos)]


def find_prediction_runs(records: Sequence[Prediction], predictions: Path) -> RunsAndNotes:
    """The runs that made these masks: those of their names whose weights are the same still.

    They are looked for under runs/ here and beside the folder of predictions.
    """
    runs: dict[Path, Run] = {}
    notes = []
    for name, weights in dict.fromkeys((record.run, record.weights) for record in records if record.run):
        ensemble = _open_ensemble(name.split(" + "), weights, predictions)
        if ensemble is None:
            notes.append(
                f"The run {name} is not under {RUNS}, or has other weights by now: its curves and config are "
                "not shown."
            )
        else:
            runs |= {run.folder: run for run in ensemble.runs}
    infos = tuple(map(_read_run_info, runs.values()))
    return infos, [*notes, *_problem_notes(infos)]


def _problem_notes(infos: Sequence[RunInfo]) -> Iterator[str]:
    """Lines on files that are not ours, and on scans that the first weights had seen, or may have."""
    yield from dict.fromkeys(problem for info in infos for problem in info.problems)
    for info in infos:
        if leaked := info.run.facts.leaked_scans:
            yield (
                f"{info.name}: the weights that training began with had seen scans kept from it, whose "
                f"scores are too good: {join_names(leaked)}."
            )
    unknown = dict.fromkeys(name for info in infos for name in info.run.facts.trained_on.unknown)
    if unknown:
        yield f"It is not known which scans the weights that training began with saw: {', '.join(unknown)}."


def _open_ensemble(names: Sequence[str], weights: str, predictions: Path) -> Ensemble | None:
    for folder in (RUNS, predictions.parent / RUNS, Path()):
        try:
            ensemble = Ensemble.open([str(folder / name) for name in names])
            if weights in (ensemble.weights_digest, ensemble.first_run_only.weights_digest):
                return ensemble
        except UserError:
            continue
    return None


def _read_run_info(run: Run) -> RunInfo:
    config = (run.folder / CONFIG).read_text(encoding="utf-8")
    version = parse_sections(config, str(run.folder / CONFIG)).get("version", "unknown")
    steps = run.folder / POSTPROCESS
    if steps.is_file():
        config += f"\n# {POSTPROCESS}\n{steps.read_text(encoding='utf-8')}"
    has_weights = isinstance(run, Package) or (run.folder / BEST).is_file()
    place = (run.folder, run.weights_digest if has_weights else "")
    calibrated, calibration_problem = CalibrationFile.find_for_run(*place)
    tuned, tuning_problem = TuningFile.find_for_run(*place)
    return RunInfo(
        locate.run_label(run.folder),
        run,
        str(version),
        config,
        tuple(_read_epochs(run.folder / METRICS)),
        calibrated=calibrated,
        tuned=tuned,
        problems=tuple(filter(None, (calibration_problem, tuning_problem))),
    )


def _read_epochs(path: Path) -> Iterator[Mapping[str, float]]:
    """The rows of metrics.csv, without the cells that are empty."""
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield {name: float(value) for name, value in row.items() if value}
