"""`volseg calibrate`: calibration of a run's probabilities on scans that it was not trained on."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volseg.arguments import InferArguments
from volseg.calibration.reference_ranges import Labels, class_ranges, training_label_features
from volseg.config.sections import Data
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.grid import NetworkGrid
from volseg.inference.confidence.calibration_file import CalibrationFigures, CalibrationFile, ClassCalibration
from volseg.inference.confidence.mask_features import MaskFeatures
from volseg.inference.confidence.probability_histogram import (
    Counts,
    Floats,
    ProbabilityHistogram,
    expected_dice,
)
from volseg.inference.confidence.review import border_uncertainty_mm, intensity_levels, scan_mask_features
from volseg.inference.confidence.temperature_scaling import (
    BINS,
    TemperatureScaling,
    expected_calibration_error,
    fit_calibration,
    reliability_bins,
)
from volseg.inference.out_of_fold import OutOfFoldScan, OutOfFoldScans
from volseg.inference.run_settings import configure_run
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.runs.run_files import CALIBRATION
from volseg.system.timing import StepTimer

if TYPE_CHECKING:
    from rich.table import Table

FEWEST = 3
"""With fewer masks there is no rank correlation."""


@dataclass(frozen=True, eq=False)
class ClassOutcome:
    """One class of one validation scan; counts are of voxels by level outside and inside, (2, 256)."""

    scan: str
    case: str
    class_name: str
    dice: float
    features: MaskFeatures
    voxel_mm3: float
    label_counts: Counts
    mask_counts: Counts


Calibrated = Sequence[tuple[ClassOutcome, TemperatureScaling]]


def calibrate(
    name: str | None, data: Path, how: InferArguments = InferArguments()
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
        for outcome in _class_outcomes(scan, validation.dataset)
    ]
    views = configure_run(validation.members[0], how).config.inference.views
    cases = {sample.name: sample.case for sample in validation.dataset.samples}
    calibration = build_calibration_file(
        outcomes, labels, validation.weights_digests, views=views, cases=cases
    )
    calibration.write(validation.folder)
    return validation.folder / CALIBRATION, calibration


def _class_outcomes(scan: OutOfFoldScan, dataset: Dataset) -> Iterator[ClassOutcome]:
    """The outcome of each class of a scan."""
    sample, maps, first = scan.sample, scan.maps, scan.channels[0]
    settings = scan.predictor.members[0].data
    levels = intensity_levels(first.voxels, settings.intensity)
    ends = labelled_slices(dataset, sample, maps.grid, settings)
    for number, (name, mask) in enumerate(scan.predictor.postprocess_masks(maps, first, StepTimer())):
        probability, label, prediction = (
            maps.grid.orient(voxels)[:, :, ends]
            for voxels in (maps.class_probability(number), dataset.label(sample, name), mask)
        )
        yield ClassOutcome(
            scan=sample.name,
            case=sample.case,
            class_name=name,
            dice=Dice()(MaskPair(label, prediction, sample.spacing_mm)),
            features=scan_mask_features(mask, first, levels),
            voxel_mm3=math.prod(sample.spacing_mm),
            label_counts=ProbabilityHistogram.from_probability(probability, label).total_counts,
            mask_counts=ProbabilityHistogram.from_probability(probability, prediction).total_counts,
        )


def labelled_slices(dataset: Dataset, sample: Sample, grid: NetworkGrid, data: Data) -> slice:
    """The oriented slices whose labels are reliable: those that the loss was computed on."""
    if data.below_cut == "background":
        return slice(None)
    masks = (grid.orient(dataset.label(sample, name)) for name in dataset.classes)
    last = max((int(z) for mask in masks for z in np.flatnonzero(mask.any(axis=(0, 1)))), default=-1)
    return slice(0, last + 1) if last >= 0 else slice(None)


def build_calibration_file(
    outcomes: Sequence[ClassOutcome],
    labels: Mapping[str, Labels],
    weights: tuple[str, ...],
    *,
    views: int = 1,
    cases: Mapping[str, str],
) -> CalibrationFile:
    """The calibration by outcomes on validation scans and the features of training labels by class.

    The outcomes are by one network each and the mean of so many mirrored views. In figures after calibration
    each case is calibrated by the other cases, as far as there are others.
    """
    plain = [(outcome, TemperatureScaling()) for outcome in outcomes]
    scaled = _leave_one_out_calibrations(outcomes)
    organs = {}
    for name, features in labels.items():
        before, after = ([one for one in side if one[0].class_name == name] for side in (plain, scaled))
        own = [outcome for outcome, _ in before]
        calibration = _fit(own)
        border_mm = _largest_border_uncertainty(own, calibration.level_probabilities)
        organs[name] = ClassCalibration(
            calibration=calibration,
            usual=class_ranges(features, border_mm, cases),
            before=_calibration_figures(before),
            after=_calibration_figures(after),
        )
    return CalibrationFile(
        weights=weights,
        scans=len({one.scan for one in outcomes}),
        cases=len({one.case for one in outcomes}),
        views=views,
        before=_calibration_figures(plain),
        after=_calibration_figures(scaled),
        organs=organs,
    )


def _fit(outcomes: Sequence[ClassOutcome]) -> TemperatureScaling:
    return fit_calibration(np.sum([outcome.label_counts for outcome in outcomes], axis=0))


def _leave_one_out_calibrations(outcomes: Sequence[ClassOutcome]) -> Calibrated:
    """Each outcome and the calibration by its class's other cases; by all where there is one case."""
    fitted: dict[tuple[str, str], TemperatureScaling] = {}
    for one in outcomes:
        if (one.class_name, one.case) not in fitted:
            own = [other for other in outcomes if other.class_name == one.class_name]
            others = [other for other in own if other.case != one.case]
            fitted[one.class_name, one.case] = _fit(others or own)
    return [(one, fitted[one.class_name, one.case]) for one in outcomes]


def _calibration_figures(calibrated: Calibrated) -> CalibrationFigures:
    """The agreement of confidence and Dice, and of probabilities and labels, for calibrated outcomes."""
    bins, pairs = np.zeros((3, BINS)), np.empty((len(calibrated), 2))
    for row, (outcome, by) in enumerate(calibrated):
        bins += reliability_bins(outcome.label_counts, by.level_probabilities)
        pairs[row] = expected_dice(outcome.mask_counts, by.level_probabilities, by.missed), outcome.dice
    estimates, dice = pairs[~np.isnan(pairs).any(axis=1)].T
    error = float(np.abs(estimates - dice).mean()) if dice.size else math.nan
    return CalibrationFigures(
        spearman=_rounded_or_none(spearman_correlation(estimates, dice)),
        dice_error=_rounded_or_none(error),
        ece=_rounded_or_none(expected_calibration_error(bins)),
    )


def _rounded_or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)


def spearman_correlation(estimates: Floats, dice: Floats) -> float:
    """Spearman's rank correlation; NaN of fewer than FEWEST pairs, or where one side is all the same."""
    from scipy.stats import spearmanr

    if len(dice) < FEWEST or not np.ptp(estimates) or not np.ptp(dice):
        return math.nan
    return float(spearmanr(estimates, dice).statistic)


def _largest_border_uncertainty(outcomes: Iterable[ClassOutcome], table: Floats) -> float | None:
    """The largest width of an uncertain border in mm."""
    widths = (border_uncertainty_mm(o.mask_counts, table, o.features, o.voxel_mm3) for o in outcomes)
    return max((mm for mm in widths if mm is not None), default=None)


def calibration_table(calibration: CalibrationFile) -> "Table":
    """A row a class and one of all together: each figure before and after calibration."""
    from rich.table import Column, Table

    headers = (Column("", no_wrap=True), "T", "Spearman\nwith Dice", "error\nof Dice", "ECE")
    table = Table(*headers, caption="T: temperature   ECE: calibration error", caption_justify="left")
    for name, organ in calibration.organs.items():
        figures = _figure_cells(organ.before, organ.after)
        table.add_row(name, f"{organ.calibration.temperature:.2f}", *figures)
    table.add_row("all", "", *_figure_cells(calibration.before, calibration.after))
    return table


def _figure_cells(before: CalibrationFigures, after: CalibrationFigures) -> list[str]:
    pairs = [(getattr(before, n), getattr(after, n)) for n in ("spearman", "dice_error", "ece")]
    return [" -> ".join("-" if v is None else f"{v:.3f}" for v in pair) for pair in pairs]
