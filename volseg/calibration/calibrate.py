"""`volseg calibrate`: what a run's probabilities are worth, found on scans that it was not trained on."""

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
from volseg.inference.confidence.calibration_file import CalibrationFile, Figures, Organ
from volseg.inference.confidence.mask_features import MaskFeatures
from volseg.inference.confidence.probability_histogram import (
    LEVELS,
    Counts,
    Floats,
    ProbabilityHistogram,
    expected_dice,
)
from volseg.inference.confidence.review import border_uncertainty_mm, intensity_levels, scan_mask_features
from volseg.inference.confidence.temperature_scaling import (
    BINS,
    Calibration,
    expected_calibration_error,
    fit_calibration,
    reliability_bins,
)
from volseg.inference.out_of_fold import OutOfFoldScan, OutOfFoldScans
from volseg.metrics.mask_pair import MaskPair
from volseg.metrics.overlap import Dice
from volseg.runs.run_files import CALIBRATION
from volseg.system.timing import StepTimer

if TYPE_CHECKING:
    from rich.table import Table

FEWEST = 3
"""Masks that a rank correlation is told of."""


@dataclass(frozen=True, eq=False)
class ClassOutcome:
    """One organ of one validation scan: its Dice, what its mask looks like, and voxels by level.

    Both counts are (2, 256), outside and inside: of the truth and of the mask.
    """

    scan: str
    case: str
    class_name: str
    dice: float
    features: MaskFeatures
    voxel_mm3: float
    label_counts: Counts
    mask_counts: Counts

    def dice_estimate(self, by: Calibration) -> float:
        """The Dice that is expected; NaN of an empty mask."""
        return expected_dice(self.mask_counts, by.level_probabilities, by.missed)


def calibrate(
    name: str | None, data: Path, how: InferArguments = InferArguments()
) -> tuple[Path, CalibrationFile]:
    """Calibrate a run, or the five folds of one, each by the scans it was validated on.

    Raises:
        UserError: a package, another dataset, or no validation scan.
    """
    new = OutOfFoldScans.of_run(name, data, "calibrate")
    labels = training_label_features(new.members, new.dataset)
    outcomes = [
        outcome
        for scan in new.predict_scans(how, "calibrating")
        for outcome in _class_outcomes(scan, new.dataset)
    ]
    found = build_calibration_file(outcomes, labels, new.weights_digests)
    found.write(new.folder)
    return new.folder / CALIBRATION, found


def _class_outcomes(scan: OutOfFoldScan, dataset: Dataset) -> Iterator[ClassOutcome]:
    """Each organ of a scan."""
    sample, maps, first = scan.sample, scan.maps, scan.channels[0]
    settings = scan.predictor.members[0].data
    levels = intensity_levels(first.voxels, settings.intensity)
    ends = labelled_slices(dataset, sample, maps.grid, settings)
    for number, (name, mask) in enumerate(scan.predictor.postprocess_masks(maps, first, StepTimer())):
        probability, truth, found = (
            maps.grid.orient(voxels)[:, :, ends]
            for voxels in (maps.class_probability(number), dataset.label(sample, name), mask)
        )
        yield ClassOutcome(
            scan=sample.name,
            case=sample.case,
            class_name=name,
            dice=Dice()(MaskPair(truth, found, sample.spacing_mm)),
            features=scan_mask_features(mask, first, levels),
            voxel_mm3=math.prod(sample.spacing_mm),
            label_counts=ProbabilityHistogram.from_probability(probability, truth).total_counts,
            mask_counts=ProbabilityHistogram.from_probability(probability, found).total_counts,
        )


def labelled_slices(dataset: Dataset, sample: Sample, grid: NetworkGrid, data: Data) -> slice:
    """The oriented slices whose labels are to be believed: as far as the loss believed them."""
    if data.below_cut == "background":
        return slice(None)
    masks = (grid.orient(dataset.label(sample, name)) for name in dataset.classes)
    last = max((int(z) for mask in masks for z in np.flatnonzero(mask.any(axis=(0, 1)))), default=-1)
    return slice(0, last + 1) if last >= 0 else slice(None)


def build_calibration_file(
    outcomes: Sequence[ClassOutcome], labels: Mapping[str, Labels], weights: tuple[str, ...]
) -> CalibrationFile:
    """What outcomes and training labels, by class, amount to.

    Figures after calibration are honest: each case is judged by what the other cases gave, as far as
    there are others.
    """
    plain = [Calibration()] * len(outcomes)
    scaled = _leave_one_out_calibrations(outcomes)
    organs = {}
    for name in labels:
        own = [one for one in outcomes if one.class_name == name]
        calibration = fit_calibration(_sum_label_counts(own))
        which = [place for place, one in enumerate(outcomes) if one.class_name == name]
        organs[name] = Organ(
            calibration=calibration,
            usual=class_ranges(labels[name], _largest_border_uncertainty(own, calibration)),
            before=_calibration_figures(own, [plain[place] for place in which]),
            after=_calibration_figures(own, [scaled[place] for place in which]),
        )
    return CalibrationFile(
        weights=weights,
        scans=len({one.scan for one in outcomes}),
        cases=len({one.case for one in outcomes}),
        before=_calibration_figures(outcomes, plain),
        after=_calibration_figures(outcomes, scaled),
        organs=organs,
    )


def _sum_label_counts(outcomes: Iterable[ClassOutcome]) -> Counts:
    return np.asarray(sum((one.label_counts for one in outcomes), np.zeros((2, LEVELS), np.int64)))


def _leave_one_out_calibrations(outcomes: Sequence[ClassOutcome]) -> list[Calibration]:
    """For each outcome the calibration by its class's other cases; by all where there is one case."""
    found: dict[tuple[str, str], Calibration] = {}
    for one in outcomes:
        if (one.class_name, one.case) not in found:
            own = [other for other in outcomes if other.class_name == one.class_name]
            others = [other for other in own if other.case != one.case]
            found[one.class_name, one.case] = fit_calibration(_sum_label_counts(others or own))
    return [found[one.class_name, one.case] for one in outcomes]


def _calibration_figures(outcomes: Sequence[ClassOutcome], by: Sequence[Calibration]) -> Figures:
    """How well outcomes were told, each by its calibration."""
    bins = np.zeros((3, BINS))
    for one, calibration in zip(outcomes, by, strict=True):
        bins += reliability_bins(one.label_counts, calibration.level_probabilities)
    pairs = np.array([(o.dice_estimate(c), o.dice) for o, c in zip(outcomes, by, strict=True)])
    pairs = pairs.reshape(-1, 2)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    error = float(np.abs(pairs[:, 0] - pairs[:, 1]).mean()) if len(pairs) else math.nan
    return Figures(
        spearman=_rounded_or_none(spearman_correlation(pairs[:, 0], pairs[:, 1])),
        dice_error=_rounded_or_none(error),
        ece=_rounded_or_none(expected_calibration_error(bins)),
    )


def _rounded_or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)


def spearman_correlation(told: Floats, true: Floats) -> float:
    """The rank correlation; NaN of fewer than FEWEST pairs, or where one side is all the same."""
    from scipy.stats import rankdata

    if len(told) < FEWEST or not np.ptp(told) or not np.ptp(true):
        return math.nan
    return float(np.corrcoef(rankdata(told), rankdata(true))[0, 1])


def _largest_border_uncertainty(outcomes: Iterable[ClassOutcome], by: Calibration) -> float | None:
    """The most over which a border was unsure, in mm."""
    unsure = (
        border_uncertainty_mm(one.mask_counts, by.level_probabilities, one.features, one.voxel_mm3)
        for one in outcomes
    )
    return max((mm for mm in unsure if mm is not None), default=None)


def calibration_table(found: CalibrationFile) -> "Table":
    """A row a class and one of all together: each figure before and after calibration."""
    from rich.table import Table

    shown = Table(caption="T: temperature   ECE: calibration error", caption_justify="left")
    shown.add_column("", no_wrap=True)
    for header in ("T", "Spearman\nwith Dice", "error\nof Dice", "ECE"):
        shown.add_column(header)
    for name, organ in found.organs.items():
        figures = _figure_cells(organ.before, organ.after)
        shown.add_row(name, f"{organ.calibration.temperature:.2f}", *figures)
    shown.add_row("all", "", *_figure_cells(found.before, found.after))
    return shown


def _figure_cells(before: Figures, after: Figures) -> list[str]:
    pairs = [(getattr(before, n), getattr(after, n)) for n in ("spearman", "dice_error", "ece")]
    return [" -> ".join("-" if v is None else f"{v:.3f}" for v in pair) for pair in pairs]
