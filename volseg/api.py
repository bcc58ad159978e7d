"""The Python API: prepare, train, predict and evaluate from a script or a notebook.

Each function does what the command of its name does. Mistakes are raised as `UserError`, with the
message that the command would print; nothing exits, and progress bars are drawn only with `progress=True`.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from volseg import console
from volseg.arguments import DATA, MaskOptions, PrepareArguments, TrainArguments, run_folder
from volseg.config.config import Config
from volseg.config.config import load as load_config
from volseg.data import volume_files
from volseg.data.dataset import Dataset
from volseg.data.mask_files import MaskReader
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.inference.predict import Image, PredictedMasks, predict_image
from volseg.runs.config_files import recorded_overrides
from volseg.runs.locate import recorded_dataset
from volseg.runs.run import Run
from volseg.system.user import name_unknown_user

if TYPE_CHECKING:
    import pandas as pd

    from volseg.metrics.mask_pair import MaskPair

log = logging.getLogger(__name__)
Mask = npt.NDArray[Any] | Volume | Path | str


def prepare(source: Path | str, out: Path | str = DATA, *, progress: bool = False, **options: Any) -> Dataset:
    """Write each raw scan as a NIfTI volume and one mask a class, as `volseg prepare` does.

    Args:
        source: the raw dataset's folder, or a MONAI datalist.
        out: the folder for the prepared dataset.
        progress: draw a bar.
        options: fields of `volseg.arguments.PrepareArguments`, e.g. `layout="nifti"` or `slice_mm=3.0`.

    Returns:
        The prepared dataset. What is wrong or odd in single scans is logged as warnings.

    Raises:
        UserError: a fault of the whole dataset, or no scan without a fault.
    """
    from volseg.preparation import prepare as preparation

    arguments = PrepareArguments(out=Path(out), **options)
    with console.bars(shown=progress), console.progress_bar("preparing") as report:
        result = preparation.prepare(Path(source), options=arguments, on_scan=report)
    for finding in result.findings:
        if finding.severity != "note":
            log.warning("%s", finding.message)
    return Dataset.load(result.out)


def train(
    config: Config | Path | str,
    data: Dataset | Path | str | None = None,
    run: Path | str | None = None,
    *,
    overrides: Sequence[str] = (),
    progress: bool = False,
    **options: Any,
) -> Run:
    """Train a network as a config says, as `volseg train` does, in this process.

    Args:
        config: a `Config`, a YAML file, or the name of one that comes with volseg (`configs/unet.yaml`).
        data: the prepared dataset; by default data/prepared, or that of a run that goes on.
        run: the run's name under `runs/`, or its path; by default the config's name.
        overrides: settings in place of the file's, e.g. `["optimizer.lr=1e-4", "train.steps=200"]`.
        progress: draw a bar.
        options: fields of `volseg.arguments.TrainArguments`, e.g. `fold=1`, `max_seconds=600`, `resume=True`.

    Returns:
        The run, with the best weights.

    Raises:
        UserError: a config, dataset or run that doesn't fit; five folds, which the command alone trains.
    """
    name_unknown_user()
    from volseg.training import train as training

    if options.get("fold") == "each" or options.get("devices", 1) != 1 or options.get("dry_run"):
        raise UserError(
            "train: fold='each', devices and dry_run are options of the command `volseg train` only"
        )
    if run is None and isinstance(config, Config):
        raise UserError("train: a Config has no name; pass the run's name or path as `run`")
    if isinstance(config, Config) and overrides:
        raise UserError("train: overrides belong to a config's file; change the Config by model_copy")
    folder = run_folder(str(run or Path(str(config)).stem))
    place = data.folder if isinstance(data, Dataset) else Path(data) if data else None
    if options.get("resume"):
        overrides = overrides if isinstance(config, Config) else recorded_overrides(folder, overrides)
        place = place or recorded_dataset(folder)
    settings = config if isinstance(config, Config) else load_config(Path(config), overrides)
    arguments = TrainArguments(data=place, run=folder, overrides=tuple(overrides), **options)
    with console.bars(shown=progress):
        return Run.open(training.train(settings, arguments).run)


def predict(
    image: Image,
    run: Path | str | Sequence[Path | str] = (),
    *,
    gate: Path | str | None = None,
    device: str | None = None,
) -> PredictedMasks:
    """Predict one image in memory: the masks and the confidence of each class.

    Args:
        image: a volume's file, a folder of slices, or a `Volume` (voxels (X, Y, Z) and their affine); a list
            of them, or a folder of files NAME_0000, NAME_0001 ..., where the run wants several channels.
        run: a run's name under `runs/`, or the path of a run or package; several are averaged, by their
            weights if they have some, as in `["a=0.6", "b=0.4"]`; by default the newest run.
        gate: another run that empties slices of a class, or "none"; by default as the run's config says.
        device: `cpu`, `cuda`, `cuda:1` or `mps`; by default a GPU if there is one.

    Returns:
        The masks, bool arrays (X, Y, Z) on the image's own grid, and the confidence, both by class. An image
        that is unlike the scans of training is told in the log, and by a flag of each class.

    Raises:
        UserError: an image that can't be read or has other channels than the run, or no such run or
            device.
    """
    name_unknown_user()
    return predict_image(image, _run_names(run), gate=gate, device=device)


def _run_names(run: object) -> list[Path | str]:
    """The runs' names or paths; weights given in another way than in a name would be lost, so are refused."""
    names = [run] if isinstance(run, Path | str) else run
    if not isinstance(names, Sequence) or not all(isinstance(name, Path | str) for name in names):
        raise UserError(
            f"run: a {type(run).__name__} is no name; pass a name, a path such as run.folder, or a list of "
            'them, with weights as in ["a=0.6", "b=0.4"]'
        )
    return list(names)


def evaluate(
    prediction: Path | str | Mask | Mapping[str, Mask],
    reference: Dataset | Path | str | Mask | Mapping[str, Mask],
    *,
    spacing_mm: Sequence[float] | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> "pd.DataFrame":
    """Score predictions against labels: overlap, distances in mm and volumes in ml; nothing is written.

    Args:
        prediction: a folder of masks by `volseg infer` or another tool; or one mask, or a mapping of class to
            mask. A mask is a bool array (X, Y, Z), a `Volume` or a file. Masks that a person corrected, in
            `corrected/` or in place, are scored as they are now, and the log says which.
        reference: for a folder of predictions the prepared dataset; else the labels, like the prediction.
        spacing_mm: the size of a voxel along X, Y and Z in mm, for arrays; volumes and files hold it.
        workers: processes that share a folder's scans; by default one a core.
        progress: draw a bar.

    Returns:
        A row for each class and metric, with the columns `class`, `metric` (named as in scores.csv) and
        `value`; for a folder also `scan`, `case` and `seen` (what training saw: "scan", "case", "none" or
        "unknown").
        NaN means nothing to measure, infinity that one of the masks is empty.

    Raises:
        UserError: no predictions, or other classes or grids than the labels'.
    """
    if isinstance(prediction, str | Path) and Path(prediction).is_dir():
        from volseg.evaluation.evaluate import find_scorable_scans

        folder = reference.folder if isinstance(reference, Dataset) else Path(str(reference))
        with console.bars(shown=progress):
            scores = find_scorable_scans(Path(prediction), folder).compute_scores(workers=workers)
        for note in scores.notes:
            log.warning(note)
        return scores.to_frame()
    if isinstance(reference, Dataset):
        raise UserError(f"evaluate: {prediction!s:.60}: no folder of masks, as `volseg infer` writes it")
    return _score_masks(prediction, reference, spacing_mm)


def _score_masks(
    prediction: Mask | Mapping[str, Mask],
    labels: Mask | Mapping[str, Mask],
    spacing_mm: Sequence[float] | None,
) -> "pd.DataFrame":
    """The metrics of masks in memory or files, by class."""
    import pandas as pd

    from volseg.metrics import compute_metrics

    predicted = prediction if isinstance(prediction, Mapping) else {"mask": prediction}
    labelled = labels if isinstance(labels, Mapping) else {"mask": labels}
    if predicted.keys() != labelled.keys():
        raise UserError(
            f"evaluate: the prediction has the classes {', '.join(predicted)}; "
            f"the labels have {', '.join(labelled)}"
        )
    rows = []
    for name in predicted:
        pair = _read_pair(predicted[name], labelled[name], name, spacing_mm)
        values = compute_metrics(pair)
        rows += [(name, metric, value) for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["class", "metric", "value"])


def _read_pair(prediction: Mask, label: Mask, name: str, spacing_mm: Sequence[float] | None) -> "MaskPair":
    """Labels and prediction of a class on the labels' grid; an array lies on the grid of the other."""
    from volseg.metrics.mask_pair import MaskPair

    volumes = [volume_files.read(Path(m)) if isinstance(m, str | Path) else m for m in (label, prediction)]
    grid = next((volume for volume in volumes if isinstance(volume, Volume)), None)
    spacing = spacing_mm or (grid.spacing_mm if grid else None)
    if spacing is None or len(spacing) != 3:
        raise UserError("evaluate: arrays have no size of a voxel; pass spacing_mm=(x, y, z) in mm")
    x, y, z = spacing
    affine = grid.affine if grid else np.diag([x, y, z, 1.0])
    truth, own = (one if isinstance(one, Volume) else Volume(np.asarray(one), affine) for one in volumes)
    reader = MaskReader(truth, MaskOptions())
    masks = (
        reader.fit(truth, f"evaluate: labels of {name}"),
        reader.fit(own, f"evaluate: prediction of {name}"),
    )
    for note in reader.notes:
        log.warning(note)
    axis = NetworkGrid.from_volume(truth, None).slice_axis if grid else 2
    return MaskPair.with_slices_last(*masks, (x, y, z), slice_axis=axis)
