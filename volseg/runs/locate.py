"""Finding runs on disk by name or path."""

from pathlib import Path

from volseg.arguments import RUNS
from volseg.errors import UserError, nearest_hint
from volseg.runs.folds import NAMES, FinishedFolds
from volseg.runs.run_files import BEST, LAST


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has got as far as its first checkpoint."""
    return any((folder / name).is_file() for name in (LAST, BEST))


def member_folders(folder: Path) -> list[Path]:
    """The runs whose networks predict: the folder itself, or the finished folds of one that holds five.

    Raises:
        UserError: no fold is finished.
    """
    five = FinishedFolds.read(folder)
    if five is None and (folder / NAMES[0]).is_dir():
        raise UserError(
            f"{folder}: no fold is finished; go on with `volseg train ... --fold each --resume`, or "
            f"name {folder / NAMES[0]}"
        )
    if five is None:
        return [folder]
    return [folder / name for name in NAMES if name in five.finished]


def run_label(folder: Path) -> str:
    """A run's short name; that of a fold begins with that of the run which holds it."""
    inner = FinishedFolds.read(folder.parent) is not None
    return f"{folder.parent.name}/{folder.name}" if inner else folder.name


def find_run(name: str | None) -> Path:
    """The folder of a run: a name under `runs/`, a path, or (None) the newest with weights.

    Raises:
        UserError: no such run; names the nearest.
    """
    known = {folder.name: folder for folder in sorted(RUNS.glob("*")) if folder.is_dir()}
    if name is None:
        newest = {folder: _last_written(folder) for folder in known.values()}
        done = [folder for folder, written in newest.items() if written is not None]
        if not done:
            raise UserError(f"{RUNS}: no finished run; make one with `volseg train configs/unet.yaml`")
        return max(done, key=lambda folder: newest[folder] or 0)
    if name in known:
        return known[name]
    for folder in (Path(name), RUNS / name):  # the second finds NAME/fold0
        if folder.is_dir():
            return folder
    raise UserError(f"{name}: no such run under {RUNS} and no such folder{nearest_hint(name, known)}")


def _last_written(folder: Path) -> float | None:
    """When a run's weights were written last; None where it can't predict yet."""
    five = FinishedFolds.read(folder)
    names = five.finished if five else ["."]
    files = [folder / name / BEST for name in names]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=None)
