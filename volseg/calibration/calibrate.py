"""`volseg calibrate`: what a run's probabilities are worth, found on scans that it was not trained on."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volseg.calibration.reference_ranges import Labels, labels_of, usual
from volseg.config.sections import Data
from volseg.data.dataset import Dataset, Sample
from volseg.data.preprocessing.grid import Grid
from volseg.inference.confidence.calibration_file import Calibrated, Figures, Organ
from volseg.inference.confidence.mask_features import Signs
from volseg.inference.confidence.probability_histogram import (
    LEVELS,
    Counts,
    Floats,
    Tally,
    expected_dice,
)
from volseg.inference.confidence.review import levels_of, seen, unsure_mm
from volseg.inference.confidence.temperature_scaling import (
    BINS,
    Calibration,
    binned,
    calibration_error,
    fit,
)
from volseg.inference.ensemble import How
from volseg.inference.out_of_fold import NewScan, NewScans
from volseg.metrics.mask_pair import Comparison
from volseg.metrics.overlap import Dice
from volseg.runs.run_files import CALIBRATION
from volseg.system.timing import Seconds

if TYPE_CHECKING:
    from rich.table import Table

FEWEST = 3
"""Masks that a rank correlation is told of."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One organ of one validation scan: its Dice, what its mask looks like, and voxels by level.

    Both counts are (2, 256), outside and inside: of the truth and of the mask.
    """

    scan: str
    case: str
    organ: str
    dice: float
    look: Signs
    voxel_mm3: float
    truth: Counts
    mask: Counts

    def told(self, by: Calibration) -> float:
        """The Dice that is expected; NaN of an empty mask."""
        return expected_dice(self.mask, by.table, by.missed)


def calibrate(name: str | None, data: Path, how: How = How()) -> tuple[Path, Calibrated]:
    """Calibrate a run, or the five folds of one, each by the scans it was validated on.

    Raises:
        UserError: a package, another dataset, or no validation scan.
    """
    new = NewScans.of(name, data, "calibrate")
    labels = labels_of(new.members, new.dataset)
    outcomes = [
        outcome
        for scan in new.predicted(how, "calibrating")
        for outcome in _organs(scan, new.dataset)
    ]
    found = judged(outcomes, labels, new.weights)
    found.write(new.folder)
    return new.folder / CALIBRATION, found


def _organs(scan: NewScan, dataset: Dataset) -> Iterator[Outcome]:
    """Each organ of a scan."""
    sample, maps, first = scan.sample, scan.maps, scan.channels[0]
    settings = scan.predictor.members[0].data
    levels = levels_of(first.voxels, settings.intensity)
    ends = labelled_slices(dataset, sample, maps.grid, settings)
    for number, (name, mask) in enumerate(scan.predictor.cleaned(maps, first, Seconds())):
        probability, truth, found = (
            maps.grid.orient(voxels)[:, :, ends]
            for voxels in (maps.whole(number), dataset.label(sample, name), mask)
        )
        yield Outcome(
            scan=sample.name,
            case=sample.case,
            organ=name,
            dice=Dice()(Comparison(truth, found, sample.spacing_mm)),
            look=seen(mask, first, levels),
            voxel_mm3=math.prod(sample.spacing_mm),
            truth=Tally.of(probability, truth).counts,
            mask=Tally.of(probability, found).counts,
        )


def labelled_slices(dataset: Dataset, sample: Sample, grid: Grid, data: Data) -> slice:
    """The oriented slices whose labels are to be believed: as far as the loss believed them."""
    if data.below_cut == "background":
        return slice(None)
    masks = (grid.orient(dataset.label(sample, name)) for name in dataset.classes)
    last = max(
        (int(z) for mask in masks for z in np.flatnonzero(mask.any(axis=(0, 1)))), default=-1
    )
    return slice(0, last + 1) if last >= 0 else slice(None)


def judged(
    outcomes: Sequence[Outcome], labels: Mapping[str, Labels], weights: tuple[str, ...]
) -> Calibrated:
    """What outcomes and training labels, by class, amount to.

    Figures after calibration are honest: each case is judged by what the other cases gave, as far as
    there are others.
    """
    plain = [Calibration()] * len(outcomes)
    scaled = _left_out(outcomes)
    organs = {}
    for name in labels:
        own = [one for one in outcomes if one.organ == name]
        calibration = fit(_sum(own))
        which = [place for place, one in enumerate(outcomes) if one.organ == name]
        organs[name] = Organ(
            calibration=calibration,
            usual=usual(labels[name], _widest(own, calibration)),
            before=_figures(own, [plain[place] for place in which]),
            after=_figures(own, [scaled[place] for place in which]),
        )
    return Calibrated(
        weights=weights,
        scans=len({one.scan for one in outcomes}),
        cases=len({one.case for one in outcomes}),
        before=_figures(outcomes, plain),
        after=_figures(outcomes, scaled),
        organs=organs,
    )


def _sum(outcomes: Iterable[Outcome]) -> Counts:
    return np.asarray(sum((one.truth for one in outcomes), np.zeros((2, LEVELS), np.int64)))


def _left_out(outcomes: Sequence[Outcome]) -> list[Calibration]:
    """For each outcome the calibration by its class's other cases; by all where there is one case."""
    found: dict[tuple[str, str], Calibration] = {}
    for one in outcomes:
        if (one.organ, one.case) not in found:
            own = [other for other in outcomes if other.organ == one.organ]
            others = [other for other in own if other.case != one.case]
            found[one.organ, one.case] = fit(_sum(others or own))
    return [found[one.organ, one.case] for one in outcomes]


def _figures(outcomes: Sequence[Outcome], by: Sequence[Calibration]) -> Figures:
    """How well outcomes were told, each by its calibration."""
    bins = np.zeros((3, BINS))
    for one, calibration in zip(outcomes, by, strict=True):
        bins += binned(one.truth, calibration.table)
    pairs = np.array([(o.told(c), o.dice) for o, c in zip(outcomes, by, strict=True)])
    pairs = pairs.reshape(-1, 2)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    error = float(np.abs(pairs[:, 0] - pairs[:, 1]).mean()) if len(pairs) else math.nan
    return Figures(
        spearman=_known(spearman(pairs[:, 0], pairs[:, 1])),
        dice_error=_known(error),
        ece=_known(calibration_error(bins)),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)


def spearman(told: Floats, true: Floats) -> float:
    """The rank correlation; NaN of fewer than FEWEST pairs, or where one side is all the same."""
    from scipy.stats import rankdata

    if len(told) < FEWEST or not np.ptp(told) or not np.ptp(true):
        return math.nan
    return float(np.corrcoef(rankdata(told), rankdata(true))[0, 1])


def _widest(outcomes: Iterable[Outcome], by: Calibration) -> float | None:
    """The most over which a border was unsure, in mm."""
    unsure = (unsure_mm(one.mask, by.table, one.look, one.voxel_mm3) for one in outcomes)
    return max((mm for mm in unsure if mm is not None), default=None)


def table(found: Calibrated) -> "Table":
    """A row a class and one of all together: each figure before and after calibration."""
    from rich.table import Table

    shown = Table(caption="T: temperature   ECE: calibration error", caption_justify="left")
    shown.add_column("", no_wrap=True)
    for header in ("T", "Spearman\nwith Dice", "error\nof Dice", "ECE"):
        shown.add_column(header)
    for name, organ in found.organs.items():
        figures = _cells(organ.before, organ.after)
        shown.add_row(name, f"{organ.calibration.temperature:.2f}", *figures)
    shown.add_row("all", "", *_cells(found.before, found.after))
    return shown


def _cells(before: Figures, after: Figures) -> list[str]:
    pairs = [(getattr(before, n), getattr(after, n)) for n in ("spearman", "dice_error", "ece")]
    return [" -> ".join("-" if v is None else f"{v:.3f}" for v in pair) for pair in pairs]
