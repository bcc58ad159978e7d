"""The files of a run's folder, and the content of those that hold for all its stages."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field

from volseg.data.image_identity import ScanIdentity
from volseg.data.scan_names import case_and_day
from volseg.errors import UserError
from volseg.runs import config_files
from volseg.runs.trained_on import SEEN, Seen, TrainedOn
from volseg.schema import ClassName, ScanName, Section
from volseg.system.json_files import JsonFile


class FileChecksums(Section):
    """Checksums of the files of a prepared scan's image, of its labels and of its teacher's maps."""

    image: str
    labels: str = ""
    teacher: str = ""


class NetworkFile(JsonFile):
    """A file that holds for networks with these SHA-256 of weights."""

    weights: tuple[str, ...]

    @classmethod
    def find_for_run(cls, folder: Path, weights: str) -> tuple[Self | None, str]:
        """The file for a run with these weights, in its folder or in that of the run it is a fold of.

        Behind it the problem of a file of this name that is not readable, or that others wrote; or "".
        """
        problems = []
        for place in (folder, folder.parent):
            try:
                file = cls.read(place)
            except UserError as error:
                problems.append(str(error).splitlines()[0])
                continue
            if file and weights in file.weights:
                return file, ""
        return None, problems[0] if problems else ""


BEST, LAST = "best.safetensors", "last.pt"
CONFIG, SPLITS, METRICS = config_files.CONFIG, "splits.json", "metrics.csv"
CALIBRATION = "calibration.json"
TUNE = "tune.json"
ENSEMBLES = "ensembles.json"
WEIGHTS = "weights.json"
TRAINING_SCANS = "training_scans.json"
ValidationSet = Literal["unseen_cases", "later_days"]
VALIDATION: tuple[ValidationSet, ...] = ("unseen_cases", "later_days")
"""The sets by whose scores the best weights are chosen."""
SETS = ("train", "later_days", "unseen_cases", "hold_out", "other")
"""In order of what training saw, the most first."""


class RunSplits(JsonFile):
    """The content of `splits.json`: the dataset's name, classes and channels, and the scans of each set.

    `data` is the absolute folder of the dataset, as of the last time that it was trained on.

    `taught` are scans without labels that were learned from a teacher alone.
    `cases`, `images` (hashes, see `image_identity`) and `files` (checksums) are by scan.
    `inherited` is what went into the weights that training began with, `slice_mm` the distance of slices
    where all scans came from slices of one distance; `synthetic` scans are a phantom's. Runs of earlier
    versions lack these. In a package that is `nameless` scans and cases have stand-ins, and are told by their
    images alone.
    """

    file: ClassVar[str] = SPLITS
    dataset: str
    data: str = ""
    classes: tuple[ClassName, ...]
    exclusive: bool
    channels: tuple[str, ...]
    fold: int | str
    train: tuple[ScanName, ...]
    unseen_cases: tuple[ScanName, ...] = ()
    later_days: tuple[ScanName, ...] = ()
    hold_out: tuple[ScanName, ...] = ()
    taught: tuple[ScanName, ...] = ()
    cases: dict[ScanName, ScanName] = Field(default_factory=dict)
    images: dict[ScanName, str] = Field(default_factory=dict)
    files: dict[ScanName, FileChecksums] = Field(default_factory=dict)
    inherited: TrainedOn | None = None
    slice_mm: float | None = None
    synthetic: bool = False
    nameless: bool = False

    def split_name(self, scan: ScanIdentity) -> str:
        """The set of a scan, or "other"."""
        own = ((name, one) for name in SETS[:-1] for one in getattr(self, name))
        alike = ((name, one) for name, one in own if one == scan.name or self.images.get(one) == scan.image)
        return next((name for name, one in alike if scan.is_same_scan(self.identity_of(one))), SETS[-1])

    def seen_in_training(self, scan: ScanIdentity) -> Seen:
        """What training saw: this very "scan", another day of its "case", or "none" of it."""
        return self.trained_on.seen_in_training(scan)

    def chose_weights(self, scan: ScanIdentity) -> bool:
        """Whether the best weights were chosen by this scan, among others."""
        return self.trained_on.chose_weights(scan)

    @property
    def trained_on(self) -> TrainedOn:
        """The scans that went into the weights, ancestors' included.

        Without validation the last weights are kept, and no scan chose them.
        """
        fitted = tuple(map(self.identity_of, (*self.train, *self.taught)))
        known = (tuple(map(self.identity_of, sorted(self.images))),) if self.nameless else ()
        own = TrainedOn(fitted=fitted, chose=self.validation_scans, nameless=known)
        return own + (self.inherited or TrainedOn())

    @property
    def validation_scans(self) -> tuple[ScanIdentity, ...]:
        """The scans by which the best weights were chosen."""
        return tuple(map(self.identity_of, (*self.unseen_cases, *self.later_days)))

    @property
    def leaked_scans(self) -> tuple[str, ...]:
        """Scans kept from this training of which that of its first weights has seen more."""
        own = TrainedOn(fitted=tuple(map(self.identity_of, self.train)))
        kept = tuple(map(self.identity_of, (*self.unseen_cases, *self.later_days, *self.hold_out)))
        before = (self.inherited or TrainedOn()).for_dataset((*own.fitted, *kept))
        seen = {scan.name: (before.seen_in_training(scan), own.seen_in_training(scan)) for scan in kept}
        return tuple(
            name
            for name, (old, new) in seen.items()
            if old != "unknown" and SEEN.index(old) < SEEN.index(new)
        )

    def identity_of(self, scan: str) -> ScanIdentity:
        """What tells a scan of this run from others."""
        case = self.cases.get(scan) or case_and_day(scan)[0]
        return ScanIdentity(name=scan, case=case, image=self.images.get(scan, ""))
