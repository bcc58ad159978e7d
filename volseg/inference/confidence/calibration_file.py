"""What a run knows of itself: `calibration.json`, which `volseg calibrate` leaves in its folder.

How its probabilities are to be taken, and what its organs looked like in training: by the one a
confidence is told, by the other what is unusual.
"""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from volseg.data.splits import case_of
from volseg.inference.confidence.temperature_scaling import Calibration
from volseg.runs.run_files import CALIBRATION, NetworkFile
from volseg.schema import Section

if TYPE_CHECKING:
    from volseg.inference.ensemble import Ensemble


class Usual(Section):
    """One class in the labels of the training scans: those that have it, by name, and its ranges.

    `scans` counts all that are labelled. `intensity` is the range of the organ's median, 0 and 1 being
    the levels of the image. `cut` are the ends of the scan that it often touches. `border_mm` is the
    most over which its border was unsure on validation scans.
    """

    scans: int
    volume_ml: dict[str, float]
    most_parts: int
    intensity: tuple[float, float] | None
    cut: tuple[str, ...] = ()
    border_mm: float | None

    @property
    def largest_volume_ratio(self) -> float | None:
        """By how many times a volume changed at most between two days of one case; None if none has two."""
        by_case: dict[str, list[float]] = {}
        for scan, volume in self.volume_ml.items():
            by_case.setdefault(case_of(scan), []).append(volume)
        return max((max(v) / min(v) for v in by_case.values() if len(v) > 1), default=None)


class Figures(Section):
    """How well confidence tells the true Dice of validation scans, and probabilities the truth.

    `spearman` ranks confidence with Dice, `dice_error` is their mean distance, `ece` the expected
    calibration error of voxels. None where it can't be said.
    """

    spearman: float | None
    dice_error: float | None
    ece: float | None


class Organ(Section):
    """One class: how its probabilities are to be taken, what is usual, and what calibration changed.

    `after` is of cases that the calibration it was judged by did not see.
    """

    calibration: Calibration
    usual: Usual
    before: Figures
    after: Figures


class CalibrationFile(NetworkFile):
    """What `calibration.json` says; `weights` are the hashes of the networks that it holds for.

    `before` and `after` are of all classes together.
    """

    file: ClassVar[str] = CALIBRATION
    again: ClassVar[str] = "make it anew with `volseg calibrate`"
    scans: int
    cases: int
    before: Figures
    after: Figures
    organs: dict[str, Organ]


def combined_calibration(by: "Ensemble") -> dict[str, Organ] | None:
    """What is known of the classes of runs that predict together; None unless all are calibrated.

    Of several calibrations the temperatures' geometric mean is taken, and the first's other facts.
    """
    found = [CalibrationFile.read_for_run(run.folder, run.weights_digest) for run in by.runs]
    known = [one.organs for one in found if one is not None]
    if len(known) < len(found):
        return None
    return {name: _merge_calibrations([organs[name] for organs in known]) for name in by.facts.classes}


def _merge_calibrations(organs: Sequence[Organ]) -> Organ:
    each = [organ.calibration for organ in organs]
    mean = Calibration(
        temperature=statistics.geometric_mean(one.temperature for one in each),
        certain=statistics.fmean(one.certain for one in each),
        missed=statistics.fmean(one.missed for one in each),
    )
    return organs[0].model_copy(update={"calibration": mean})
