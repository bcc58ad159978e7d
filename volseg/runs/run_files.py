"""The files of a run's folder, and the content of those that hold for all its stages."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field

from volseg.data.image_identity import ScanIdentity
from volseg.data.scan_names import case_and_day
from volseg.runs import config_files
from volseg.schema import ClassName, ScanName, Section
from volseg.system.json_files import JsonFile

Seen = Literal["scan", "case", "none"]


class FileChecksums(Section):
    """Checksums of the files of a prepared scan's image and of its labels."""

    image: str
    labels: str = ""


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


class TrainedOn(Section):
    """The scans that went into weights: those they were `fitted` on, and those that `chose` the best of them.

    `unknown` names weights among their ancestors of which nothing is known.
    """

    fitted: tuple[ScanIdentity, ...] = ()
    chose: tuple[ScanIdentity, ...] = ()
    unknown: tuple[str, ...] = ()

    def __add__(self, other: "TrainedOn") -> "TrainedOn":
        """Both together, each scan once."""
        return TrainedOn(
            fitted=tuple(dict.fromkeys((*self.fitted, *other.fitted))),
            chose=tuple(dict.fromkeys((*self.chose, *other.chose))),
            unknown=tuple(dict.fromkeys((*self.unknown, *other.unknown))),
        )


class RunSplits(JsonFile):
    """The content of `splits.json`: the dataset's name, classes and channels, and the scans of each set.

    `cases`, `images` (hashes, see `image_identity`) and `files` (checksums of image and labels) are by scan.
    `inherited` is what went into the weights that training began with, `slice_mm` the distance of slices
    where all scans came from slices of one distance. Runs of earlier versions lack these.
    """

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
    cases: dict[ScanName, ScanName] = Field(default_factory=dict)
    images: dict[ScanName, str] = Field(default_factory=dict)
    files: dict[ScanName, FileChecksums] = Field(default_factory=dict)
    inherited: TrainedOn | None = None
    slice_mm: float | None = None

    def split_name(self, scan: str) -> str:
        """The set of a scan, or "other"."""
        names = ("train", "unseen_cases", "later_days", "hold_out")
        return next((name for name in names if scan in getattr(self, name)), "other")

    def seen_in_training(self, scan: ScanIdentity, *, namesakes: bool = False) -> Seen:
        """What training saw: this very "scan", another day of its "case", or "none" of it.

        With `namesakes` the names are of other scans than the run's, so that a case's name says nothing.
        """
        fitted = self.trained_on.fitted
        if any(scan.is_same_scan(one) for one in fitted):
            return "scan"
        others = (one.case for one in fitted if one.name != scan.name)
        return "case" if not namesakes and scan.case in others else "none"

    def chose_weights(self, scan: ScanIdentity) -> bool:
        """Whether the best weights were chosen by this scan, among others."""
        return any(scan.is_same_scan(one) for one in self.trained_on.chose)

    @property
    def trained_on(self) -> TrainedOn:
        """The scans that went into the weights, ancestors' included.

        Without validation the last weights are kept, and no scan chose them.
        """
        fitted = tuple(map(self.identity_of, self.train))
        chose = tuple(map(self.identity_of, (*self.unseen_cases, *self.later_days)))
        return TrainedOn(fitted=fitted, chose=chose) + (self.inherited or TrainedOn())

    def identity_of(self, scan: str) -> ScanIdentity:
        """What tells a scan of this run from others."""
        case = self.cases.get(scan) or case_and_day(scan)[0]
        return ScanIdentity(name=scan, case=case, image=self.images.get(scan, ""))
