"""The files of a run's folder, and the content of those that hold for all its stages."""

from pathlib import Path
from typing import ClassVar, Self

from volseg.data.scan_names import case_and_day
from volseg.runs import config_files
from volseg.schema import ClassName, ScanName
from volseg.system.json_files import JsonFile


class NetworkFile(JsonFile):
    """A file that holds for networks with these SHA-256 of weights."""

    weights: tuple[str, ...]

    @classmethod
    def read_for_run(cls, folder: Path, weights: str) -> Self | None:
        """The file for a run with these weights, in its folder or in that of the run it is a fold of."""
        files = (cls.read(place) for place in (folder, folder.parent))
        return next((file for file in files if file and weights in file.weights), None)


BEST, LAST = "best.safetensors", "last.pt"
CONFIG, SPLITS, METRICS = config_files.CONFIG, "splits.json", "metrics.csv"
CALIBRATION = "calibration.json"
TUNE = "tune.json"


class RunSplits(JsonFile):
    """The content of `splits.json`: the dataset's name, classes and channels, and the scans of each set."""

    file: ClassVar[str] = SPLITS
    dataset: str
    classes: tuple[ClassName, ...]
    exclusive: bool
    channels: tuple[str, ...]
    fold: int | str
    train: tuple[ScanName, ...]
    unseen_cases: tuple[ScanName, ...] = ()
    later_days: tuple[ScanName, ...] = ()
    hold_out: tuple[ScanName, ...] = ()

    def split_name(self, scan: str) -> str:
        """The set of a scan, or "other"."""
        names = ("train", "unseen_cases", "later_days", "hold_out")
        return next((name for name in names if scan in getattr(self, name)), "other")

    def seen_in_training(self, scan: str, case: str) -> str:
        """What training saw: this very "scan", another day of its "case", or "none" of it."""
        if scan in self.train:
            return "scan"
        cases = {case_and_day(name)[0] for name in self.train}
        return "case" if case in cases else "none"
