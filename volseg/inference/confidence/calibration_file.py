"""`calibration.json`, which `volseg calibrate` writes into a run's folder.

For each class it holds the calibration of probabilities, from which confidence is computed, and the
ranges of the training labels, outside which a mask is unusual.
"""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from volseg.data.scan_names import case_and_day
from volseg.inference.confidence.temperature_scaling import TemperatureScaling
from volseg.runs.run_files import CALIBRATION, NetworkFile
from volseg.schema import Section

if TYPE_CHECKING:
    from volseg.inference.ensemble import Ensemble


class ReferenceRanges(Section):
    """One class in the labels of the training scans: the volumes of those that have it, and its ranges.

    `scans` counts all that are labelled. `intensity` is the range of the median, 0 and 1 being the
    levels of the image. `cut` are the ends of the scan that the class often touches. `border_mm` is the
    largest border uncertainty on validation scans.
    """

    scans: int
    volume_ml: dict[str, float]
    most_parts: int
    intensity: tuple[float, float] | None
    cut: tuple[str, ...] = ()
    border_mm: float | None

    @property
    def largest_volume_ratio(self) -> float | None:
        """The largest ratio of volumes of two days of one case; None if no case has two."""
        by_case: dict[str, list[float]] = {}
        for scan, volume in self.volume_ml.items():
            by_case.setdefault(case_and_day(scan)[0], []).append(volume)
        return max((max(v) / min(v) for v in by_case.values() if len(v) > 1), default=None)


class CalibrationFigures(Section):
    """The agreement of confidence with the actual Dice on validation scans, and of probabilities with labels.

    `spearman` is the rank correlation of confidence and Dice, `dice_error` their mean distance, `ece` the
    expected calibration error of voxels. None where they are undefined.
    """

    spearman: float | None
    dice_error: float | None
    ece: float | None


class ClassCalibration(Section):
    """One class: its calibration, its usual ranges, and the figures before and after calibration.

    `after` is of cases that had no part in the calibration applied to them.
    """

    calibration: TemperatureScaling
    usual: ReferenceRanges
    before: CalibrationFigures
    after: CalibrationFigures


class CalibrationFile(NetworkFile):
    """The content of `calibration.json` for networks with these hashes; figures are of all classes."""

    file: ClassVar[str] = CALIBRATION
    again: ClassVar[str] = "make it anew with `volseg calibrate`"
    scans: int
    cases: int
    before: CalibrationFigures
    after: CalibrationFigures
    organs: dict[str, ClassCalibration]


def combined_calibration(by: "Ensemble") -> dict[str, ClassCalibration] | None:
    """The calibration of each class for runs that predict together; None unless all are calibrated."""
    files = [CalibrationFile.read_for_run(run.folder, run.weights_digest) for run in by.runs]
    known = [one.organs for one in files if one is not None]
    if len(known) < len(files):
        return None
    return {name: _merge_calibrations([classes[name] for classes in known]) for name in by.facts.classes}


def _merge_calibrations(organs: Sequence[ClassCalibration]) -> ClassCalibration:
    """The mean calibration, geometric for temperatures, with the first run's other values."""
    each = [organ.calibration for organ in organs]
    mean = TemperatureScaling(
        temperature=statistics.geometric_mean(one.temperature for one in each),
        certain=statistics.fmean(one.certain for one in each),
        missed=statistics.fmean(one.missed for one in each),
    )
    return organs[0].model_copy(update={"calibration": mean})
