"""`volseg calibrate`: calibration of a run's confidence on scans that it was not trained on."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from volseg.arguments import InferArguments
from volseg.calibration.class_outcomes import ClassOutcome, class_outcomes
from volseg.calibration.left_out import (
    JudgedOutcome,
    calibration_figures,
    fit_dice,
    fit_scaling,
    judge_left_out,
)
from volseg.calibration.reference_ranges import Labels, class_ranges, training_label_features
from volseg.inference.confidence.calibration_file import CalibrationFile, ClassCalibration
from volseg.inference.confidence.dice_estimate import Floats
from volseg.inference.confidence.review import border_uncertainty_mm
from volseg.inference.out_of_fold import OutOfFoldScans
from volseg.inference.run_settings import configure_run
from volseg.runs.run_files import CALIBRATION


def calibrate(
    name: str | None, data: Path | None, how: InferArguments = InferArguments()
) -> tuple[Path, CalibrationFile]:
    """Calibrate a run, or the five folds of one, each by the scans it was validated on.

    Raises:
        UserError: a package, another dataset, or no validation scan.
    """
    validation = OutOfFoldScans.of_run(name, data, "calibrate")
    labels = training_label_features(validation.members, validation.dataset)
    outcomes = [
        outcome
        for scan in validation.predict_scans(how, "calibrating")
        for outcome in class_outcomes(scan, validation.dataset)
    ]
    views = configure_run(validation.members[0], how).config.inference.views
    cases = {sample.name: sample.case for sample in validation.dataset.samples}
    calibration = build_calibration_file(
        outcomes, labels, validation.weights_digests, views=views, cases=cases
    )
    calibration.write(validation.folder)
    return validation.folder / CALIBRATION, calibration


def build_calibration_file(
    outcomes: Sequence[ClassOutcome],
    labels: Mapping[str, Labels],
    weights: tuple[str, ...],
    *,
    views: int = 1,
    cases: Mapping[str, str],
) -> CalibrationFile:
    """The calibration by outcomes on validation scans and the features of training labels by class.

    The outcomes are by one network each and the mean of so many mirrored views. Figures after calibration
    are of cases that had no part in what they are judged by.
    """
    plain = [JudgedOutcome(outcome) for outcome in outcomes]
    judged = [*judge_left_out(outcomes)]
    estimates = fit_dice(outcomes, [*labels])
    organs = {}
    for name, features in labels.items():
        before, after = ([one for one in side if one.outcome.class_name == name] for side in (plain, judged))
        own = [one.outcome for one in before]
        calibration = fit_scaling(own, name)
        border_mm = _largest_border_uncertainty(own, calibration.level_probabilities)
        organs[name] = ClassCalibration(
            calibration=calibration,
            estimate=estimates[name],
            usual=class_ranges(features, border_mm, cases),
            before=calibration_figures(before),
            after=calibration_figures(after),
        )
    return CalibrationFile(
        weights=weights,
        scans=len({one.scan for one in outcomes}),
        cases=len({one.case for one in outcomes}),
        views=views,
        before=calibration_figures(plain),
        after=calibration_figures(judged),
        organs=organs,
    )


def _largest_border_uncertainty(outcomes: Iterable[ClassOutcome], table: Floats) -> float | None:
    """The largest width of an uncertain border in mm."""
    widths = (border_uncertainty_mm(o.mask_counts, table, o.features, o.voxel_mm3) for o in outcomes)
    return max((mm for mm in widths if mm is not None), default=None)
