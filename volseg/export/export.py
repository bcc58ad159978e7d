"""`volseg export`: from a run to a package that predicts the same, in most formats without torch."""

import logging
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from volseg.arguments import ExportArguments
from volseg.data.dataset import FILE as DATASET
from volseg.data.dataset import Dataset
from volseg.errors import UserError
from volseg.export import equivalence, int8
from volseg.export.equivalence import EquivalenceResult
from volseg.export.int8 import Int8Result
from volseg.inference.confidence.calibration_file import CalibrationFile
from volseg.model.engines import Format
from volseg.model.engines.conversion import convert_in_subprocess
from volseg.model.engines.selection import choose_engine
from volseg.runs import locate as runs
from volseg.runs.config_files import POSTPROCESS, copy_without_names
from volseg.runs.folds import FinishedFolds
from volseg.runs.nameless import nameless_splits
from volseg.runs.package import FILE, MODEL, Package, open_run, seal_folds, seal_package
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, CONFIG, TRAINING_SCANS
from volseg.system.files import atomic_folder

PACKAGES = Path("packages")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportedNetwork:
    """The name of a run, the comparison of its package with it, and that of 8 bits with 32."""

    label: str
    equivalence: EquivalenceResult
    int8: Int8Result | None = None


@dataclass(frozen=True)
class ExportResult:
    """The package, its size in bytes, and its networks: one, or one a fold."""

    folder: Path
    size: int
    networks: tuple[ExportedNetwork, ...]


def export(name: str, options: ExportArguments) -> ExportResult:
    """Write a package of a run or of five folds, each compared with its run on a scan before it appears.

    Raises:
        UserError: no such run, a fold that is not finished, a target that exists, a network that can't be
            converted, or a package that predicts something else than the run; then nothing is left.
    """
    _check_installed(options)
    folder = runs.find_run(name)
    members = _open_exportable_runs(folder)
    out = options.out or PACKAGES / f"{runs.run_label(folder).replace('/', '-')}-{options.format}"
    _check_target(out, force=options.force)
    data = options.data or _run_dataset(members[0])
    dataset = _matching_dataset(members[0], data)
    scans = [equivalence.example_scan(run, data, dataset) for run in members]
    samples = [int8.comparison_samples(run, dataset) if options.int8 else [] for run in members]
    networks = []
    with atomic_folder(out) as target:
        for run, scan, compared in zip(members, scans, samples, strict=True):
            inside = run.folder.relative_to(folder)  # "." of a run by itself
            (target / inside).mkdir(exist_ok=True)
            package = _write_package(run, options, target / inside)
            result = equivalence.compare_predictions(run, package, scan, options.device)
            equivalence.require_equivalence(out / inside, result)
            trial = None
            if dataset and compared:
                trial = int8.quantise_if_equivalent(run, package, dataset, compared)
            networks.append(ExportedNetwork(runs.run_label(run.folder), result, trial))
        if folds := FinishedFolds.read(folder):
            folds.write(target)
            seal_folds(target, runs.run_label(folder))
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return ExportResult(out, size, tuple(networks))


def _check_installed(options: ExportArguments) -> None:
    """Refuse 8 bits of another format and what is not here, a library or device, before it takes time."""
    from volseg.model.engines.device_selection import usable_device

    usable_device(options.device)
    if options.int8 and options.format != "openvino":
        raise UserError(f"--int8: OpenVINO only; leave --int8 or --format {options.format} out")
    needed = {"openvino": ("openvino", *(("nncf",) if options.int8 else ())), "onnx": ("onnx",), "torch": ()}
    for name in needed[options.format]:
        if not find_spec(name):
            extra = {"nncf": "int8"}.get(name, options.format)
            raise UserError(
                f"--format {options.format}: {name} is not installed; `pip install 'volseg[{extra}]'`"
            )
    choose_engine("auto", (options.format,))


def _open_exportable_runs(folder: Path) -> tuple[Run, ...]:
    """The run of a folder, or those of its five folds."""
    folds = FinishedFolds.read(folder)
    if folds and folds.unfinished_folds:
        raise UserError(
            f"{folder}: not finished: {', '.join(folds.unfinished_folds)}; go on with `volseg train ... "
            f"--fold each --resume`, or export one by itself, e.g. {folder / next(iter(folds.finished))}"
        )
    return tuple(map(_open_exportable_run, runs.member_folders(folder)))


def _open_exportable_run(folder: Path) -> Run:
    run = open_run(folder)
    if isinstance(run, Package):
        raise UserError(
            f"{run.folder}: is a package already; export the run it was made from, {run.contents.run}"
        )
    if gate := run.config.inference.gate:
        raise UserError(
            f"{run.folder}: has the gate {gate.run} (inference.gate), which a package can't hold; take it "
            f"out of {run.folder / CONFIG}, export both runs, and predict by --run PACKAGE --gate PACKAGE"
        )
    _ = run.weights_file  # a run without has nothing to export
    return run


def _check_target(out: Path, *, force: bool) -> None:
    """Raise a UserError for a target that exists, unless it is a package and `force` is given."""
    if not out.exists():
        return
    if not (out / FILE).is_file():
        raise UserError(f"--out {out}: exists and is no package; name another folder")
    if not force:
        raise UserError(f"--out {out}: exists; name another folder or pass --force")


def _run_dataset(run: Run) -> Path | None:
    """The folder of the dataset that a run was trained on; None where it is gone."""
    folder = runs.told_dataset(run.facts)
    return folder if (folder / DATASET).is_file() else None


def _matching_dataset(run: Run, data: Path | None) -> Dataset | None:
    """The dataset, if it has the run's classes and channels."""
    if data is None:
        return None
    dataset = Dataset.load(data)
    facts = run.facts
    same = (dataset.classes, dataset.facts.channels) == (facts.classes, facts.channels)
    return dataset if same else None


def _write_package(run: Run, options: ExportArguments, folder: Path) -> Package:
    """Write what a package has of its run; a fold's calibration is its run's."""
    named = options.with_training_scans
    facts = run.facts if named else nameless_splits(run.facts, runs.run_label(run.folder))
    facts.write(folder)
    if (run.folder / TRAINING_SCANS).is_file():  # ranges without names
        shutil.copyfile(run.folder / TRAINING_SCANS, folder / TRAINING_SCANS)
    if named:
        for file in (CONFIG, POSTPROCESS):
            if (run.folder / file).is_file():
                shutil.copyfile(run.folder / file, folder / file)
    else:
        copy_without_names(run.folder, folder, run.config)
    calibration, problem = CalibrationFile.find_for_run(run.folder, run.weights_digest)
    if calibration:
        (calibration if named else calibration.without_scans).write(folder)
    elif problem:
        log.warning("%s; the package is not calibrated", problem)
    _write_model(run, options.format, folder)
    return seal_package(folder, run, options.format)


def _write_model(run: Run, kind: Format, folder: Path) -> None:
    file = folder / MODEL[kind][0]
    if kind == "torch":
        shutil.copyfile(run.folder / BEST, file)
    else:
        shape = (len(run.facts.channels), *run.config.window)
        convert_in_subprocess(run.folder, kind, file, network=run.load_network, shape=shape)
