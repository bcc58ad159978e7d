"""`volseg export`: from a run to a package that predicts the same, in most formats without torch."""

import logging
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from volseg.arguments import DATA, ExportArguments
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
from volseg.runs.config_files import POSTPROCESS
from volseg.runs.package import FILE, MODEL, Package, open_run, seal_package
from volseg.runs.run import Run
from volseg.runs.run_files import BEST, CONFIG, TRAINING_SCANS
from volseg.system.files import atomic_folder

PACKAGES = Path("packages")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportResult:
    """The package, its size in bytes, and its comparison with the run."""

    folder: Path
    size: int
    equivalence: EquivalenceResult
    int8: Int8Result | None = None


def export(name: str, options: ExportArguments) -> ExportResult:
    """Write a package of a run, compared with the run on a scan before it appears.

    Raises:
        UserError: no such run, a target that exists, a network that can't be converted, or a package
            that predicts something else than the run; then nothing is left.
    """
    _check_installed(options)
    run = _open_exportable_run(name)
    out = options.out or PACKAGES / f"{runs.run_label(run.folder).replace('/', '-')}-{options.format}"
    _check_target(out, force=options.force)
    dataset = _matching_dataset(run, options.data)
    scan = equivalence.example_scan(run, options.data, dataset)
    samples = int8.comparison_samples(run, dataset) if options.int8 else []
    with atomic_folder(out) as folder:
        _copy_run_files(run, folder)
        _write_model(run, options.format, folder)
        package = seal_package(folder, run, options.format)
        result = equivalence.compare_predictions(run, package, scan, options.device)
        equivalence.require_equivalence(out, result)
        trial = int8.quantise_if_equivalent(run, package, dataset, samples) if dataset and samples else None
    return ExportResult(out, sum(file.stat().st_size for file in out.iterdir()), result, trial)


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


def _open_exportable_run(name: str) -> Run:
    run = open_run(runs.find_run(name))
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


def _matching_dataset(run: Run, data: Path | None) -> Dataset | None:
    """The dataset, if it has the run's classes and channels."""
    if data is None and not (DATA / DATASET).is_file():
        return None
    dataset = Dataset.load(data or DATA)
    facts = run.facts
    same = (dataset.classes, dataset.facts.channels) == (facts.classes, facts.channels)
    return dataset if same else None


def _copy_run_files(run: Run, folder: Path) -> None:
    """Write into a package what it has of its run beside the network; a fold's calibration is its run's."""
    for file in (CONFIG, POSTPROCESS, TRAINING_SCANS):
        if (run.folder / file).is_file():
            shutil.copyfile(run.folder / file, folder / file)
    run.facts.write(folder)
    calibration, problem = CalibrationFile.find_for_run(run.folder, run.weights_digest)
    if calibration:
        calibration.write(folder)
    elif problem:
        log.warning("%s; the package is not calibrated", problem)


def _write_model(run: Run, kind: Format, folder: Path) -> None:
    file = folder / MODEL[kind][0]
    if kind == "torch":
        shutil.copyfile(run.folder / BEST, file)
    else:
        shape = (len(run.facts.channels), *run.config.window)
        convert_in_subprocess(run.folder, kind, file, network=run.load_network, shape=shape)
