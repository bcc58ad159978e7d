"""The Python API: prepare, train, predict and evaluate from a script or a notebook.

Each function does what the command of its name does. Mistakes are raised as `UserError`, with the message that the
command would print; nothing exits, and progress bars are drawn only with `progress=True`.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from volseg import console
from volseg.arguments import DATA
from volseg.config import config as configs
from volseg.config.config import Config
from volseg.data.dataset import Dataset
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.inference.predict import Image, PredictedMasks, predict_image
from volseg.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Dataset", "PredictedMasks", "Run", "UserError", "Volume", "evaluate", "predict", "prepare", "train"]

log = logging.getLogger(__name__)
Mask = npt.NDArray[Any] | Volume | Path | str


def prepare(source: Path | str, out: Path | str = DATA, *, progress: bool = False, **options: Any) -> Dataset:
    """Write each raw scan as a NIfTI volume and one mask a class, as `volseg prepare` does.

    Args:
        source: the raw dataset's folder, or a MONAI datalist.
        out: the folder for the prepared dataset.
        progress: draw a bar.
        options: those of `volseg prepare`, e.g. `layout="nifti"` or `slice_mm=3.0`.

    Returns:
        The prepared dataset. What is wrong or odd in single scans is logged as warnings.

    Raises:
        UserError: a fault of the whole dataset, or no scan without a fault.
    """
    from volseg.preparation import prepare as stage

    arguments = stage.PrepareOptions(out=Path(out), **options)
    with console.show_bars(progress), console.progress_bar("preparing") as report:
        done = stage.prepare(Path(source), options=arguments, on_scan=report)
    for finding in done.findings:
        if finding.severity != "note":
            log.warning("%s", finding.message)
    return Dataset.load(done.out)


def train(
    config: Config | Path | str,
    data: Dataset | Path | str = DATA,
    *,
    run: Path | str | None = None,
    overrides: Sequence[str] = (),
    progress: bool = False,
    **options: Any,
) -> Run:
    """Train a network as a config says, as `volseg train` does.

    Args:
        config: a YAML file, the name of one that comes with volseg (`configs/unet.yaml`), or a `Config`.
        data: the prepared dataset.
        run: the run's name under `runs/`, or its path; by default the config's name.
        overrides: settings in place of the config's, e.g. `["optimizer.lr=1e-4", "train.steps=200"]`.
        progress: draw a bar.
        options: those of `volseg train`, e.g. `fold="1"`, `max_time="30m"` or `resume=True`.

    Returns:
        The run, with the best weights.

    Raises:
        UserError: a config, dataset or run that doesn't fit.
    """


def predict(image: Image, run: Path | str | Sequence[Path | str] = ()) -> PredictedMasks:
    """Predict one image in memory: the masks and the confidence of each class.

    Args:
        image: a volume's file, a folder of slices, or a `Volume` (voxels (X, Y, Z) and their affine); a list of
            them where the run wants several channels.
        run: a run's name under `runs/`, or the path of a run or package; several are averaged; by default the
            newest run.

    Returns:
        The masks, bool arrays (X, Y, Z) on the image's own grid, and the confidence, both by class.

    Raises:
        UserError: an image that can't be read or has other channels than the run, or no such run.
    """
    names = [run] if isinstance(run, Path | str) else run
    return predict_image(image, names)
