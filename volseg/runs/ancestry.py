"""What went into weights that training begins with, by the `splits.json` beside their file."""

import hashlib
import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from volseg.errors import UserError
from volseg.runs.run_files import WEIGHTS, RunSplits
from volseg.runs.trained_on import TrainedOn
from volseg.system.json_files import read_json

log = logging.getLogger(__name__)


class _FirstWeights(BaseModel):
    """What this needs of `weights.json`: the file of a run's first weights, and its SHA-256."""

    model_config = ConfigDict(extra="ignore")
    file: str
    sha256: str


def read_trained_on(weights: Path) -> TrainedOn:
    """What went into the weights in the file of a run or package; unknown of any other file."""
    try:
        splits = read_splits(weights.parent)
    except UserError as error:
        log.info("%s", error)
        splits = None
    return splits.trained_on if splits else TrainedOn(unknown=(f"{weights.parent.name}/{weights.name}",))


def read_splits(folder: Path) -> RunSplits | None:
    """The content of a run's `splits.json`, with what an earlier version did not write of its ancestors.

    Raises:
        UserError: not readable, or not written by volseg.
    """
    splits = RunSplits.read(folder)
    if splits is None or splits.inherited is not None:
        return splits
    return splits.model_copy(update={"inherited": _ancestry_by_record(folder)})


def _ancestry_by_record(folder: Path) -> TrainedOn | None:
    """What went into the first weights that `weights.json` names, if their file is still the same."""
    if not (folder / WEIGHTS).is_file():
        return None
    try:
        first = read_json(folder / WEIGHTS, _FirstWeights)
        file = Path(first.file)
        if file.parent != folder and hashlib.sha256(file.read_bytes()).hexdigest() == first.sha256:
            return read_trained_on(file)
    except (UserError, OSError) as error:
        log.info("%s", error)
        return TrainedOn(unknown=(f"the first weights of {folder.name}",))
    return TrainedOn(unknown=(f"{file.parent.name}/{file.name}",))
