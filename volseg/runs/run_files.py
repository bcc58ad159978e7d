"""The files of a run's folder, and the facts they hold."""

from pathlib import Path
from typing import Self

from volseg.data.splits import case_of
from volseg.runs import config_files
from volseg.schema import Section
from volseg.system.json_files import JsonFile


class NetworkFile(JsonFile):
    """Facts that hold for networks with these hashes of weights."""

    weights: tuple[str, ...]

    @classmethod
    def read_for_run(cls, folder: Path, weights: str) -> Self | None:
        """Those of a run with these weights, from its folder or that of the five folds it is one of."""
        for place in (folder, folder.parent):
            found = cls.read(place)
            if found and weights in found.weights:
                return found
        return None


BEST, LAST = "best.safetensors", "last.pt"
CONFIG, SPLITS, METRICS = config_files.CONFIG, "splits.json", "metrics.csv"
CALIBRATION = "calibration.json"
TUNE = "tune.json"


class RunSplits(Section):
    """What `splits.json` holds: the dataset's facts and the names of the scans in each set."""

    dataset: str
    classes: tuple[str, ...]
    exclusive: bool
    channels: tuple[str, ...]
    fold: int | str
    train: tuple[str, ...]
    unseen_cases: tuple[str, ...] = ()
    later_days: tuple[str, ...] = ()
    hold_out: tuple[str, ...] = ()

    def split_name(self, scan: str) -> str:
        """The set a scan was in, or "other"."""
        for name in ("train", "unseen_cases", "later_days", "hold_out"):
            if scan in getattr(self, name):
                return name
        return "other"

    def seen_in_training(self, scan: str, case: str) -> str:
        """What training saw: this very "scan", its "case" on another day, or "none" of it."""
        if scan in self.train:
            return "scan"
        cases = {case_of(name) for name in self.train}
        return "case" if case in cases else "none"
