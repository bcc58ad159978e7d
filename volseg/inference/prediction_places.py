"""Where predictions lie and which dataset they are of, where nobody says so."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from volseg.arguments import DATA, PREDICTIONS, InferArguments
from volseg.data.dataset import FILE
from volseg.errors import UserError
from volseg.inference.ensemble import Ensemble
from volseg.inference.mask_folder import holds_masks
from volseg.inference.prediction_folder import RECORD
from volseg.runs.locate import dataset_of_run, from_here
from volseg.system.json_files import JsonFile

log = logging.getLogger(__name__)
INPUT = "input"
"""In place of a dataset's name, for scans that `--input` names."""


class PredictionSource(JsonFile):
    """The content of `source.json` in a folder of predictions: the absolute folder of their dataset.

    It is written whenever `volseg infer` begins there, so that its time tells which predictions are newest;
    "" where no scan of the folder was of a dataset.
    """

    file: ClassVar[str] = "source.json"
    data: str = ""


def with_places(options: InferArguments, ensemble: Ensemble) -> InferArguments:
    """The options with a dataset and a folder for the masks, where none are given.

    The dataset is the one that the first run was trained on, the folder `predictions/<run>/<dataset>`.

    Raises:
        UserError: the run's dataset is no longer where it was, or the folder for masks is a dataset's.
    """
    data = options.data
    if data is None and not options.input:
        data = dataset_of_run(ensemble.facts)
    if options.out and (options.out / FILE).is_file():
        raise UserError(f"--out {options.out}: is a prepared dataset; name another folder for the masks")
    source = data.resolve().name if data and not options.input else INPUT
    run = ensemble.name.replace(" ", "").replace("/", "-")
    return replace(options, data=data, out=options.out or PREDICTIONS / run / (source or DATA.name))


def mark_begin(options: InferArguments) -> None:
    """Write `source.json`, but not beside what others wrote.

    Scans of `--input` beside those of a dataset leave the dataset there.
    """
    before = PredictionSource.read(options.folder)
    ours = before or any(options.folder.glob(f"*/{RECORD}"))
    if not ours and holds_masks(options.folder):
        return
    source = PredictionSource(data="" if options.input else os.path.abspath(options.dataset))  # noqa: PTH100
    (before if before and not source.data else source).write(options.folder)


def newest_predictions() -> Path:
    """The folder below `predictions/`, or this itself, in which `volseg infer` began last; the log tells it.

    Raises:
        UserError: there is none.
    """
    marks = (PREDICTIONS.glob(f"{depth}{PredictionSource.file}") for depth in ("", "*/", "*/*/"))
    times = {mark.parent: mark.stat().st_mtime_ns for of_depth in marks for mark in of_depth}
    if PREDICTIONS not in times and holds_masks(PREDICTIONS):  # by an earlier version, or another tool
        files = [*PREDICTIONS.glob(f"*/{RECORD}"), *PREDICTIONS.glob("*.*")]
        times[PREDICTIONS] = max((file.stat().st_mtime_ns for file in files), default=0)
    if not times:
        raise UserError(
            f"{PREDICTIONS}: no predictions in it; make some with `volseg infer`, or name their folder"
        )
    folder = max(times, key=times.__getitem__)
    log.info("%s: the newest predictions", folder)
    return folder


def predictions_of_run(label: str) -> Path | None:
    """The newest folder of predictions that a run has by default; None where there is none."""
    marks = (PREDICTIONS / label.replace("/", "-")).glob(f"*/{PredictionSource.file}")
    newest = max(marks, key=lambda mark: mark.stat().st_mtime_ns, default=None)
    return newest.parent if newest else None


def missing_folder_problem(folder: Path) -> str:
    """That there is no such folder, and where the masks of a run of this name are."""
    masks = predictions_of_run(str(folder))
    hint = f"; the masks of the run are in {masks}" if masks else ""
    return f"{folder}: no such folder{hint}; name a folder of masks or of their scores"


def dataset_of_predictions(*folders: Path) -> Path:
    """The dataset that the first of these folders of predictions tells that tells any; else data/prepared.

    It need not be there any more.
    """
    for folder in folders:
        try:
            source = PredictionSource.read(folder)
        except UserError:
            continue  # another program's file of this name
        if source and source.data:
            return from_here(Path(source.data))
    return DATA
