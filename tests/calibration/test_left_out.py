from dataclasses import replace

import numpy as np
import pytest

from volseg.calibration.class_outcomes import ClassOutcome
from volseg.calibration.left_out import JudgedOutcome, calibration_figures, judge_left_out
from volseg.calibration.tables import calibration_notes
from volseg.inference.confidence.calibration_file import (
    CalibrationFigures,
    CalibrationFile,
    ClassCalibration,
    ReferenceRanges,
)
from volseg.inference.confidence.dice_estimate import DiceEstimate
from volseg.inference.confidence.mask_features import MaskFeatures
from volseg.inference.confidence.probability_histogram import LEVELS
from volseg.inference.confidence.temperature_scaling import TemperatureScaling

USUAL = ReferenceRanges(scans=1, volume_ml={}, most_parts=1, intensity=None, border_mm=None)


def outcome(case: int, dice: float, certainty: float = 0.8, name: str = "spleen") -> ClassOutcome:
    counts = np.zeros((2, LEVELS), np.int64)
    counts[1, 255], counts[1, 0] = round(1000 * certainty), round(1000 * (1 - certainty))
    labels = counts.copy()
    labels[0, 100:150], labels[1, 100:150] = 5, 5 + case
    features = MaskFeatures(10.0, 100.0, 1, 0.5, ())
    return ClassOutcome(f"case{case}_day0", f"case{case}", name, dice, features, 1.0, labels, counts)


FEW = [outcome(n, 0.7 + 0.02 * n, 0.75 + 0.02 * n) for n in range(10)]


def test_a_case_has_no_part_in_what_it_is_judged_by() -> None:
    """Whatever its own Dice and labels are, the others say the same of it."""
    other = replace(FEW[3], dice=0.01, label_counts=FEW[3].label_counts[::-1].copy())

    one, changed = ([*judge_left_out([*FEW[:3], odd, *FEW[4:]])] for odd in (FEW[3], other))

    judges = [
        next((by.scaling, by.estimate) for by in judged if by.outcome.case == "case3")
        for judged in (one, changed)
    ]
    assert judges[0] == judges[1]
    assert judges[0][1] != next(by.estimate for by in one if by.outcome.case == "case4")


def test_days_of_one_case_are_left_out_together() -> None:
    days = [replace(one, case=f"case{number // 2}") for number, one in enumerate(FEW)]

    judged = {one.outcome.scan: one.estimate for one in judge_left_out(days)}

    assert judged["case4_day0"] == judged["case5_day0"] != judged["case6_day0"]


def test_of_one_case_alone_nothing_is_told() -> None:
    assert [*judge_left_out(FEW[:1])] == []
    figures = calibration_figures([])
    assert (figures.dice_error, figures.bias, figures.spearman, figures.masks) == (None, None, None, 0)


def test_figures_by_hand() -> None:
    estimate = DiceEstimate(margin=(-0.2, 0.2))  # 0.8 may be 0.766 to 0.830
    judged = [
        JudgedOutcome(one, TemperatureScaling(), estimate)
        for one in (outcome(0, 0.9), outcome(1, 0.8), outcome(2, 0.6))
    ]

    found = calibration_figures(judged)

    assert found.dice_error == pytest.approx((0.1 + 0 + 0.2) / 3, abs=1e-5)
    assert found.bias == pytest.approx((-0.1 + 0 + 0.2) / 3, abs=1e-5)
    assert found.inside == pytest.approx(1 / 3, abs=1e-5)
    assert (found.dice, found.masks, found.cases) == (pytest.approx(2.3 / 3, abs=1e-5), 3, 3)
    assert found.spearman is None  # certainty is the same of all


def test_ranks_of_one_class_are_those_of_certainty() -> None:
    """Flat lines that differ by who was left out would turn the order round."""
    flat = [
        JudgedOutcome(one, estimate=DiceEstimate(slope=0, intercept=-number))
        for number, one in enumerate(FEW)
    ]

    assert calibration_figures(flat).spearman == 1


@pytest.mark.parametrize(
    ("spearman", "cases", "ranks", "shown"),
    [
        (0.36, 14, True, True),
        (0.34, 14, True, False),  # 1.28 standard deviations of 1 / sqrt(13) are 0.355
        (0.19, 14, False, False),
        (0.19, 400, False, True),
        (None, 14, False, False),
        (0.1, 4, True, False),  # four cases can't show that it ranks nothing
    ],
)
def test_where_confidence_ranks_nothing_it_is_in_doubt(
    spearman: float | None, cases: int, ranks: bool, shown: bool
) -> None:
    figures = CalibrationFigures(
        spearman=spearman, dice_error=0.1, ece=0.1, dice=0.83, masks=2 * cases, cases=cases
    )
    organ = ClassCalibration(calibration=TemperatureScaling(), usual=USUAL, before=figures, after=figures)

    assert (figures.ranks, figures.beyond_chance) == (ranks, shown)
    assert ("ranks nothing" in organ.doubt) == (not ranks)


def test_what_few_cases_can_t_show_is_noted() -> None:
    figures = CalibrationFigures(spearman=0.5, dice_error=0.1, ece=0.1, dice=0.8, masks=4, cases=4)
    organ = ClassCalibration(
        calibration=TemperatureScaling(), estimate=DiceEstimate(), usual=USUAL, before=figures, after=figures
    )
    sure = organ.model_copy(
        update={
            "estimate": DiceEstimate(margin=(-1, 1)),
            "after": figures.model_copy(update={"cases": 20, "spearman": 0.1}),
        }
    )
    file = CalibrationFile(
        weights=(), scans=4, cases=4, before=figures, after=figures, organs={"liver": organ, "spleen": sure}
    )

    few, ranged, shown, nothing = calibration_notes(file)

    assert few == "4 cases: too few to know how good confidence is"
    assert ranged.startswith("liver: masks of too few cases to know the range")
    assert shown == "liver: 4 cases can't show that confidence ranks its masks"
    assert nothing.startswith("spleen: confidence ranks nothing here")
