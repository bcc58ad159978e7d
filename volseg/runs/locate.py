"""Search of runs on disk by name or path."""

import math
from pathlib import Path

from volseg.arguments import DATA, RUNS
from volseg.errors import UserError, nearest_hint
from volseg.runs.ancestry import read_splits
from volseg.runs.folds import NAMES, FinishedFolds
from volseg.runs.run_files import BEST, LAST, RunSplits


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has a checkpoint yet."""
    return any((folder / name).is_file() for name in (LAST, BEST))


def member_folders(folder: Path) -> list[Path]:
    """The runs whose networks predict: the folder itself or, of a run of five folds, the finished ones.

    Raises:
        UserError: no fold is finished.
    """
    folds = FinishedFolds.read(folder)
    if folds:
        return [folder / name for name in NAMES if name in folds.finished]
    if (folder / NAMES[0]).is_dir():
        raise UserError(
            f"{folder}: no fold is finished; go on with `volseg train ... --fold each --resume`, or "
            f"name {folder / NAMES[0]}"
        )
    return [folder]


def run_label(folder: Path) -> str:
    """A run's short name; that of a fold begins with the name of its run."""
    is_fold = FinishedFolds.read(folder.parent) is not None
    return f"{folder.parent.name}/{folder.name}" if is_fold else folder.name


def split_weight(text: str) -> tuple[str, float | None]:
    """A run's name, and the weight behind its last "=": `a=0.6` is run a by 0.6.

    Where the whole text names a run or a folder, it is the name, and there is no weight.

    Raises:
        UserError: behind a run's name no number above 0.
    """
    name, equals, given = text.rpartition("=")
    if not (equals and name) or _named_folder(text):
        return text, None
    try:
        weight = float(given)
    except ValueError:
        if not _named_folder(name):
            return text, None
        weight = math.nan
    if not 0 < weight < math.inf:
        raise UserError(
            f"--run {text}: {given or 'nothing'} is no weight; give a number above 0, as in {name}=0.6, or "
            "leave out a run that is to count for nothing"
        )
    return name, weight


def find_run(name: str | None) -> Path:
    """The folder of a run: a name under `runs/`, a path, or (None) the newest with weights.

    Raises:
        UserError: no such run; names the nearest.
    """
    known = {folder.name: folder for folder in sorted(RUNS.glob("*")) if folder.is_dir()}
    if name is None:
        times = {folder: _last_written(folder) for folder in known.values()}
        newest = max(known.values(), key=times.__getitem__, default=None)
        if newest is None or not times[newest]:
            raise UserError(f"{RUNS}: no finished run; make one with `volseg train configs/unet.yaml`")
        return newest
    if folder := _named_folder(name):
        return folder
    raise UserError(f"{name}: no such run under {RUNS} and no such folder{nearest_hint(name, known)}")


def _named_folder(name: str) -> Path | None:
    """The folder of this name under `runs/` (NAME/fold0 too), or of this path; None where there is none."""
    is_plain = Path(name).name == name != ".."
    places = (*([RUNS / name] if is_plain else []), Path(name), RUNS / name)
    return next((place for place in places if place.is_dir()), None)


def dataset_of_run(facts: RunSplits) -> Path:
    """The dataset that a run was trained on; data/prepared where it tells none.

    Raises:
        UserError: it is no longer there.
    """
    folder = told_dataset(facts)
    if facts.data and not folder.is_dir():
        raise UserError(f"{folder}: not there, on which the run was trained; name the dataset by --data")
    return folder


def recorded_dataset(folder: Path) -> Path | None:
    """The dataset that a run's folder tells, or the first of its folds; None where it holds no run yet."""
    for place in (folder, folder / NAMES[0]):
        if facts := read_splits(place):
            return dataset_of_run(facts)
    return None


def told_dataset(facts: RunSplits) -> Path:
    """The folder of the dataset that a run tells, whether it is still there or not; else data/prepared."""
    return from_here(Path(facts.data)) if facts.data else DATA


def from_here(path: Path) -> Path:
    """A path as people would type it: relative to the working directory if it lies in that."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path


def _last_written(folder: Path) -> float:
    """The time at which a run's weights were written last; 0 where it has none yet."""
    folds = FinishedFolds.read(folder)
    files = [folder / name / BEST for name in (folds.finished if folds else ["."])]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)
