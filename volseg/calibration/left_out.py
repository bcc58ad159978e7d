"""Figures of a calibration: each validation case judged by what the other cases say, never by itself."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from volseg.calibration.class_outcomes import ClassOutcome
from volseg.calibration.dice_fit import SeenMask, fit_estimates, left_out_groups
from volseg.inference.confidence.calibration_file import CalibrationFigures
from volseg.inference.confidence.dice_estimate import DiceEstimate, Floats
from volseg.inference.confidence.temperature_scaling import (
    BINS,
    TemperatureScaling,
    expected_calibration_error,
    fit_calibration,
    reliability_bins,
)

FEWEST = 3
"""With fewer masks there is no rank correlation."""


@dataclass(frozen=True, eq=False)
class JudgedOutcome:
    """An outcome, and the calibration that it is judged by; by default none."""

    outcome: ClassOutcome
    scaling: TemperatureScaling = field(default_factory=TemperatureScaling)
    estimate: DiceEstimate = field(default_factory=DiceEstimate)


def fit_scaling(outcomes: Sequence[ClassOutcome], class_name: str) -> TemperatureScaling:
    """The calibration of a class's probabilities; none where no outcome is of it."""
    counts = [outcome.label_counts for outcome in outcomes if outcome.class_name == class_name]
    return fit_calibration(np.sum(counts, axis=0)) if counts else TemperatureScaling()


def fit_dice(outcomes: Sequence[ClassOutcome], classes: Sequence[str]) -> dict[str, DiceEstimate]:
    """What the certainty of each class stands for."""
    seen = [SeenMask(one.case, one.class_name, one.certainty, one.dice) for one in outcomes]
    return fit_estimates(
        [mask for mask in seen if not math.isnan(mask.certainty) and not math.isnan(mask.dice)], classes
    )


def judge_left_out(outcomes: Sequence[ClassOutcome]) -> Iterator[JudgedOutcome]:
    """Each outcome by the calibration of other cases; nothing where there is one case alone."""
    classes = list(dict.fromkeys(one.class_name for one in outcomes))
    for group in left_out_groups([one.case for one in outcomes]):
        others = [one for one in outcomes if one.case not in group]
        if not others:
            continue
        scalings = {name: fit_scaling(others, name) for name in classes}
        estimates = fit_dice(others, classes)
        for one in outcomes:
            if one.case in group:
                yield JudgedOutcome(one, scalings[one.class_name], estimates[one.class_name])


def calibration_figures(judged: Sequence[JudgedOutcome]) -> CalibrationFigures:
    """The agreement of confidence and Dice, and of probabilities and labels.

    Ranks of one class are those of certainty, which no line that rises changes: the lines of a mask and of
    the next are fitted to different cases, and where they hardly rise that alone would turn the order round.
    """
    bins = np.zeros((3, BINS))
    for one in judged:
        bins += reliability_bins(one.outcome.label_counts, one.scaling.level_probabilities)
    masks = [one for one in judged if not math.isnan(one.outcome.certainty + one.outcome.dice)]
    told = np.array([one.estimate.dice(one.outcome.certainty) for one in masks])
    dice = np.array([one.outcome.dice for one in masks])
    one_class = len({one.outcome.class_name for one in masks}) == 1
    ranked = np.array([one.outcome.certainty for one in masks]) if one_class else told
    bounds = [one.estimate.bounds(one.outcome.certainty) for one in masks]
    inside = [ends[0] <= true <= ends[1] for ends, true in zip(bounds, dice, strict=True) if ends]
    return CalibrationFigures(
        spearman=_rounded_or_none(spearman_correlation(ranked, dice)),
        dice_error=_mean_or_none(np.abs(told - dice)),
        ece=_rounded_or_none(expected_calibration_error(bins)),
        bias=_mean_or_none(told - dice),
        inside=_mean_or_none(inside),
        dice=_mean_or_none(dice),
        masks=len(masks),
        cases=len({one.outcome.case for one in masks}),
    )


def _mean_or_none(values: Floats | Sequence[bool]) -> float | None:
    return round(float(np.mean(values)), 5) if len(values) else None


def _rounded_or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)


def spearman_correlation(estimates: Floats, dice: Floats) -> float:
    """Spearman's rank correlation; NaN of fewer than FEWEST pairs, or where one side is all the same."""
    from scipy.stats import spearmanr

    if len(dice) < FEWEST or not np.ptp(estimates) or not np.ptp(dice):
        return math.nan
    return float(spearmanr(estimates, dice).statistic)
