"""Search of runs on disk by name or path."""

from pathlib import Path

from volseg.arguments import RUNS
from volseg.errors import UserError, nearest_hint
from volseg.runs.folds import NAMES, FinishedFolds
from volseg.runs.run_files import BEST, LAST


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
    for folder in (known.get(name), Path(name), RUNS / name):  # the last finds NAME/fold0
        if folder and folder.is_dir():
            return folder
    raise UserError(f"{name}: no such run under {RUNS} and no such folder{nearest_hint(name, known)}")


def _last_written(folder: Path) -> float:
    """The time at which a run's weights were written last; 0 where it has none yet."""
    folds = FinishedFolds.read(folder)
    files = [folder / name / BEST for name in (folds.finished if folds else ["."])]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)
