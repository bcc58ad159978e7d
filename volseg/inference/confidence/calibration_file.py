"""`calibration.json`, which `volseg calibrate` writes into a run's folder.

For each class it holds what its certainty stands for, from which confidence is computed, the calibration of
its probabilities, by which slices are chosen, and the ranges of the training labels, outside which a mask is
unusual.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from volseg.data.scan_names import case_and_day
from volseg.inference.confidence.dice_estimate import DiceEstimate
from volseg.inference.confidence.temperature_scaling import TemperatureScaling
from volseg.runs.run_files import CALIBRATION, NetworkFile
from volseg.schema import ScanName, Section

if TYPE_CHECKING:
    from volseg.inference.ensemble import Ensemble
    from volseg.runs.run import Run

LEAST_RANK = 0.2
"""With less rank correlation confidence ranks nothing."""
CHANCE = 1.28
"""Standard deviations of a rank correlation by chance, which one in ten exceeds."""
FEWEST_CASES = 5
"""Fewer cases can't show whether confidence ranks."""


class VolumeRange(Section):
    """The volumes of a class in the training scans that have it, without those scans' own.

    `scans` have it, of a volume of about `low_ml` to `high_ml`; two days of one case differ by a factor of
    `day_ratio` at most (None if no case has two).
    """

    scans: int
    low_ml: float
    high_ml: float
    day_ratio: float | None

    def rounded(self) -> "VolumeRange":
        """The range widened to two digits, in which no scan's volume is told."""
        low, high = round_outward(self.low_ml, up=False), round_outward(self.high_ml, up=True)
        ratio = self.day_ratio and round_outward(self.day_ratio, up=True)
        return VolumeRange(scans=self.scans, low_ml=low, high_ml=high, day_ratio=ratio)


def round_outward(value: float, *, up: bool) -> float:
    """The nearest number of two digits that is not smaller (`up`), or not larger, than a value above 0."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{(math.ceil if up else math.floor)(round(value / unit, 6)) * unit:.2g}")


class ReferenceRanges(Section):
    """One class in the labels of the training scans: the volumes of those that have it, and its ranges.

    `scans` counts all that are labelled. In a package without names `volume_range` stands in place of the
    volumes by scan. `intensity` is the range of the median, 0 and 1 being the
    levels of the image. `cut` are the ends of the scan that the class often touches. `border_mm` is the
    largest border uncertainty on validation scans. `cases` has the case of each scan.
    """

    scans: int
    volume_ml: dict[str, float]
    volume_range: VolumeRange | None = None
    most_parts: int
    intensity: tuple[float, float] | None
    cut: tuple[str, ...] = ()
    border_mm: float | None
    cases: dict[ScanName, ScanName] = Field(default_factory=dict)

    def case_of(self, scan: str) -> str:
        """The case of a scan; files of earlier versions tell it only by the scan's name."""
        return self.cases.get(scan) or case_and_day(scan)[0]

    @property
    def volumes(self) -> VolumeRange | None:
        """The range of the volumes; None if no training scan has the class."""
        if not self.volume_ml:
            return self.volume_range
        values = self.volume_ml.values()
        return VolumeRange(
            scans=len(values), low_ml=min(values), high_ml=max(values), day_ratio=self._largest_day_ratio
        )

    @property
    def without_scans(self) -> "ReferenceRanges":
        """The same without the names of scans and their volumes."""
        kept = self.volumes and self.volumes.rounded()
        return self.model_copy(update={"volume_ml": {}, "cases": {}, "volume_range": kept})

    @property
    def _largest_day_ratio(self) -> float | None:
        by_case: dict[str, list[float]] = {}
        for scan, volume in self.volume_ml.items():
            by_case.setdefault(self.case_of(scan), []).append(volume)
        return max((max(v) / min(v) for v in by_case.values() if len(v) > 1), default=None)


class CalibrationFigures(Section):
    """The agreement of confidence with the actual Dice on validation scans, and of probabilities with labels.

    `spearman` is the rank correlation of confidence and Dice, `dice_error` their mean distance, `ece` the
    expected calibration error of voxels, `bias` the mean of confidence less Dice, `inside` the share of masks
    whose Dice lies within the range that is told, `dice` the mean Dice of the `masks`, which are of so many
    `cases`. None where they are undefined, or where a file of earlier versions lacks them.
    """

    spearman: float | None
    dice_error: float | None
    ece: float | None
    bias: float | None = None
    inside: float | None = None
    dice: float | None = None
    masks: int = 0
    cases: int = 0

    @property
    def ranks(self) -> bool:
        """Whether confidence told better masks from worse ones; true where too few cases can't show it."""
        return self.cases < FEWEST_CASES or (self.spearman or 0.0) >= LEAST_RANK

    @property
    def beyond_chance(self) -> bool:
        """Whether so many cases show that it ranks; chance alone has a standard deviation of 1 / √(n - 1)."""
        return self.cases > 1 and (self.spearman or 0.0) >= CHANCE / math.sqrt(self.cases - 1)


class ClassCalibration(Section):
    """One class: its calibration, its usual ranges, and the figures before and after calibration.

    `estimate` is what its certainty stands for; files of earlier versions lack it. `after` is of cases that
    had no part in the calibration applied to them.
    """

    calibration: TemperatureScaling
    estimate: DiceEstimate | None = None
    usual: ReferenceRanges
    before: CalibrationFigures
    after: CalibrationFigures

    @property
    def doubt(self) -> str:
        """Why confidence in a mask of this class would say nothing; "" where it says something."""
        after = self.after
        if after.ranks or after.dice is None:
            return ""
        return (
            f"confidence ranks nothing here: the {after.masks} masks of validation had a Dice of "
            f"{after.dice:.2f} on average, whatever it was"
        )


class CalibrationFile(NetworkFile):
    """The content of `calibration.json` for networks with these hashes; figures are of all classes.

    It holds for the mean of as many `networks` and mirrored `views` as it was found for; in files of earlier
    versions, which lack these, for one network and the views of the run's config.
    """

    file: ClassVar[str] = CALIBRATION
    again: ClassVar[str] = "make it anew with `volseg calibrate`"
    scans: int
    cases: int
    networks: int = 1
    views: int | None = None
    before: CalibrationFigures
    after: CalibrationFigures
    organs: dict[str, ClassCalibration]

    @property
    def without_scans(self) -> "CalibrationFile":
        """The same without the names of scans and their volumes."""
        organs = {
            name: organ.model_copy(update={"usual": organ.usual.without_scans})
            for name, organ in self.organs.items()
        }
        return self.model_copy(update={"organs": organs})


@dataclass(frozen=True)
class KnownClasses:
    """What calibration tells of the classes of runs that predict together; none where it was not made.

    `problem` says why their probabilities are not calibrated all the same; "" where they are, or where there
    is no calibration.
    """

    organs: Mapping[str, ClassCalibration] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def of_ensemble(cls, by: "Ensemble", views: int) -> "KnownClasses":
        """What is known of the classes of these runs, as they predict the mean of so many mirrored views.

        The ranges of training labels are those of the first run.
        """
        found = [CalibrationFile.find_for_run(run.folder, run.weights_digest) for run in by.runs]
        files = [file for file, _ in found if file]
        if len(files) < len(found):
            problem = next((f"{problem}; not calibrated" for _, problem in found if problem), "")
            return cls(problem=problem)
        organs = {name: files[0].organs.get(name) for name in by.facts.classes}
        known = {name: organ for name, organ in organs.items() if organ}
        if any(organ.estimate is None for organ in known.values()):
            return cls(
                known,
                f"{CALIBRATION} of {by.runs[0].folder.name} was made by an earlier version: not calibrated; "
                "run `volseg calibrate` again",
            )
        if len(known) < len(organs):
            lacking = [name for name, organ in organs.items() if organ is None]
            return cls(problem=f"{CALIBRATION}: lacks {', '.join(lacking)}; not calibrated")
        if by.weights:
            return cls(
                known,
                f"{CALIBRATION} was found for networks that count alike, these have weights: not calibrated",
            )
        differences = (
            _difference(file, run, len(by.runs), views) for file, run in zip(files, by.runs, strict=True)
        )
        return cls(known, next(filter(None, differences), ""))

    def calibration_of(self, name: str) -> ClassCalibration | None:
        """The calibration of a class, if it holds for these predictions."""
        return None if self.problem else self.organs.get(name)

    def usual_ranges(self, name: str) -> ReferenceRanges | None:
        """The usual ranges of a class; that of the border is of calibrated probabilities only."""
        if name not in self.organs:
            return None
        usual = self.organs[name].usual
        return usual.model_copy(update={"border_mm": None}) if self.problem else usual


def _difference(file: CalibrationFile, run: "Run", networks: int, views: int) -> str:
    """Why a run's calibration does not hold for a mean of so many networks and views, or ''."""
    own_views = run.config.inference.views if file.views is None else file.views
    if (file.networks, own_views) == (networks, views):
        return ""
    found_for = f"{_count(file.networks, 'network')} and {_count(own_views, 'view')}"
    return (
        f"{CALIBRATION} of {run.folder.name} was found for predictions by {found_for}, these are by "
        f"{_count(networks, 'network')} and {_count(views, 'view')}: not calibrated"
    )


def _count(number: int, what: str) -> str:
    return f"the mean of {number} {what}s" if number > 1 else f"one {what}"
