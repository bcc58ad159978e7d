import numpy as np
import pytest

from volseg.data.preprocessing.grid import NetworkGrid
from volseg.data.preprocessing.intensity_scaling import Window
from volseg.data.volume import Volume, stack_affine
from volseg.inference.confidence.calibration_file import (
    CalibrationFigures,
    ClassCalibration,
    KnownClasses,
    ReferenceRanges,
)
from volseg.inference.confidence.dice_estimate import DiceEstimate
from volseg.inference.confidence.mask_features import MaskFeatures
from volseg.inference.confidence.review import ScanReview, intensity_levels, mask_flags, removal_flags
from volseg.inference.confidence.temperature_scaling import TemperatureScaling
from volseg.inference.probability_maps import ProbabilityMaps, sigmoid_table
from volseg.model.engines.interface import STEPS
from volseg.postprocessing.pipeline import StepChange

NOTHING = CalibrationFigures(spearman=None, dice_error=None, ece=None)
GOOD = MaskFeatures(volume_ml=100.0, border_mm2=9000.0, parts=1, intensity=0.5, cut=())
USUAL = ReferenceRanges(
    scans=3,
    volume_ml={"case1_day0": 80.0, "case1_day1": 120.0, "case2_day0": 150.0},
    most_parts=2,
    intensity=(0.4, 0.6),
    border_mm=2.0,
)
SHAPE = (20, 18, 12)


def signs_of(look: MaskFeatures, unsure: float = 1.0, agreement: float | None = 0.95) -> list[str]:
    return [sign for sign, _ in mask_flags(look, unsure, agreement, USUAL)]


def maps_of(*passes: np.ndarray) -> ProbabilityMaps:
    """The maps of one class that so many passes, logits (X, Y, Z), leave."""
    grid = NetworkGrid.from_volume(Volume(np.zeros(SHAPE, np.uint16), stack_affine((1.5, 1.5), 3.0)), None)
    maps = ProbabilityMaps(grid, exclusive=False, weights=[1] * len(passes))
    box = tuple(slice(0, n) for n in SHAPE)
    for logits in passes:
        maps.add_pass(iter([(0, np.rint(logits * STEPS).astype(np.int16)[None])]), grid, box)
    return maps


def soft_box(left: int = 6, certainty: float = 8.0) -> np.ndarray:
    logits = np.full(SHAPE, -certainty)
    logits[left : left + 8, 5:12, 3:9] = certainty
    return logits


def reviewed(maps: ProbabilityMaps, known: dict[str, ClassCalibration] | None = None, **told) -> ScanReview:
    first = Volume(np.full(SHAPE, 500, np.uint16), stack_affine((1.5, 1.5), 3.0))
    review = ScanReview(KnownClasses(known or {}), first, (0.0, 1000.0), **told)
    review.add_class("stomach", maps.class_probability(0) >= 128, maps, 0)
    return review


def test_a_usual_organ_has_no_flag() -> None:
    assert signs_of(GOOD) == []


@pytest.mark.parametrize(
    ("changed", "sign"),
    [
        ({"volume_ml": 80 / 1.3}, "volume"),
        ({"volume_ml": 150 * 1.3}, "volume"),
        ({"parts": 3}, "parts"),
        ({"intensity": 0.2}, "intensity"),
        ({"intensity": 0.7}, "intensity"),
        ({"cut": ("the last slice",)}, "cut"),
        ({"volume_ml": 0.0, "parts": 0, "intensity": None, "border_mm2": 0.0}, "missing"),
    ],
)
def test_each_sign_has_its_flag(changed: dict, sign: str) -> None:
    assert signs_of(MaskFeatures(**{**vars(GOOD), **changed})) == [sign]


def test_unsure_borders_and_passes_that_differ_have_theirs() -> None:
    assert signs_of(GOOD, unsure=2.19) == []  # the most of validation scans is 2 mm
    assert signs_of(GOOD, unsure=2.21) == ["border"]
    assert signs_of(GOOD, agreement=0.7) == ["agreement"]
    assert signs_of(GOOD, agreement=None) == []


def test_near_the_ends_of_what_training_saw_nothing_is_unusual() -> None:
    for volume, grey in ((80 / 1.2, 0.36), (150 * 1.2, 0.64)):
        assert signs_of(MaskFeatures(**{**vars(GOOD), "volume_ml": volume, "intensity": grey})) == []


def test_an_end_of_the_scan_that_the_organ_often_touches_is_not_told() -> None:
    usual = USUAL.model_copy(update={"cut": ("the last slice",)})
    look = MaskFeatures(**{**vars(GOOD), "cut": ("the first slice", "the last slice")})

    assert [text for _, text in mask_flags(look, 1.0, None, usual)] == [
        "touches the first slice: the field of view may cut it"
    ]


def test_an_organ_that_some_training_scans_lack_may_be_missing() -> None:
    gone = MaskFeatures(0.0, 0.0, 0, None, ())
    some = USUAL.model_copy(update={"scans": 4})

    assert [sign for sign, _ in mask_flags(gone, None, None, some)] == []


def test_without_a_calibration_only_the_scan_speaks() -> None:
    look = MaskFeatures(volume_ml=9e9, border_mm2=1.0, parts=99, intensity=-5, cut=("the first slice",))

    assert [sign for sign, _ in mask_flags(look, 99.0, 0.5, None)] == ["cut", "agreement"]


@pytest.mark.parametrize(
    ("kept_ml", "removed_ml", "flags"),
    [
        (1373.0, 1357.0, [("removed", "cleaning kept 1373 ml and removed 1357 ml: the right parts?")]),
        (100.0, 25.0, [("removed", "cleaning kept 100 ml and removed 25 ml: the right parts?")]),
        (100.0, 24.0, []),
        (0.0, 3.0, [("removed", "cleaning kept 0 ml and removed 3 ml: the right parts?")]),
        (0.0, 0.0, []),
    ],
)
def test_parts_that_cleaning_removed_are_told_where_they_are_large(kept_ml, removed_ml, flags) -> None:
    parts = StepChange("keep_largest", 2, 1, added_ml=0.0, removed_ml=removed_ml)
    border = StepChange("threshold", 2, 2, added_ml=0.0, removed_ml=99.0)  # no part of it went

    assert [*removal_flags([border, parts], kept_ml)] == flags


def test_a_sure_network_expects_its_mask_to_be_right() -> None:
    told = reviewed(maps_of(soft_box())).confidence["stomach"]

    assert told.dice == pytest.approx(1, abs=0.01)
    assert (told.calibrated, told.flags, told.agreement) == (False, (), None)
    assert told.volume_ml == pytest.approx(8 * 7 * 6 * 6.75 / 1000)


def calibrated(**after) -> ClassCalibration:
    figures = CalibrationFigures(spearman=0.8, dice_error=0.03, ece=None, dice=0.7, masks=20, cases=20)
    return ClassCalibration(
        calibration=TemperatureScaling(temperature=3, certain=0.9, missed=0.1),
        estimate=DiceEstimate(intercept=-1.5, margin=(-0.4, 0.2)),
        usual=USUAL,
        before=NOTHING,
        after=figures.model_copy(update=after),
    )


def test_a_calibration_lowers_what_too_sure_a_network_says() -> None:
    maps = maps_of(soft_box(certainty=3))

    plain = reviewed(maps).confidence["stomach"]
    scaled = reviewed(maps, {"stomach": calibrated()}).confidence["stomach"]
    assert plain.dice is not None
    assert scaled.dice is not None
    assert scaled.dice < plain.dice - 0.1
    assert (plain.calibrated, plain.range, plain.error) == (False, None, None)
    assert (scaled.calibrated, scaled.error) == (True, 0.03)
    assert scaled.range is not None
    assert scaled.range[0] < scaled.dice < scaled.range[1]


def test_a_confidence_that_ranks_nothing_says_so_in_place_of_a_number() -> None:
    told = reviewed(maps_of(soft_box()), {"stomach": calibrated(spearman=0.1)}).confidence["stomach"]

    assert (told.dice, told.range) == (None, None)
    assert told.doubt.startswith(
        "confidence ranks nothing here: the 20 masks of validation had a Dice of 0.70"
    )


@pytest.mark.parametrize("known", [None, {"stomach": calibrated()}])
def test_a_doubt_about_the_scan_stands_in_place_of_every_number(known) -> None:
    told = reviewed(maps_of(soft_box()), known, doubt="a CT, trained on MR").confidence["stomach"]
    empty = reviewed(maps_of(np.full(SHAPE, -14.0)), known, doubt="a CT").confidence["stomach"]

    assert (told.dice, told.doubt) == (None, "a CT, trained on MR")
    assert told.volume_ml > 0
    assert (empty.dice, empty.doubt) == (None, "")


def test_slices_are_told_by_the_sources_numbers() -> None:
    logits = soft_box()
    logits[:, :, 7] /= 40  # one slice on which little is sure

    by_place = reviewed(maps_of(logits))
    by_number = reviewed(maps_of(logits), numbers=range(31, 43))
    assert by_place.confidence["stomach"].slices == by_place.slices_to_check == ((7, 7),)
    assert by_number.confidence["stomach"].slices == by_number.slices_to_check == ((38, 38),)


class Stored:
    """The maps of the same scan in a file whose axes are in another order."""

    def __init__(self, maps: ProbabilityMaps, axes: tuple[int, int, int]) -> None:
        self.maps, self.axes = maps, axes
        empty = np.zeros([SHAPE[axis] for axis in axes], np.uint16)
        self.first = Volume(empty + np.uint16(500), stack_affine((1.5, 1.5), 3.0)[:, [*axes, 3]])
        self.grid = NetworkGrid.from_volume(self.first, None)

    def class_probability(self, number: int) -> np.ndarray:
        return self.maps.class_probability(number).transpose(self.axes)

    def dice_between_passes(self, number: int, squares: float) -> float | None:
        return self.maps.dice_between_passes(number, squares)


@pytest.mark.parametrize("axes", [(2, 1, 0), (0, 2, 1), (1, 2, 0)])
def test_slices_lie_across_the_line_from_head_to_feet_however_a_file_stores_them(axes) -> None:
    logits = soft_box()
    logits[:, :, 7] /= 40
    logits[6:9, 5:8, 9:] = 8  # on to the last slice
    maps = maps_of(logits)
    stored = Stored(maps, axes)
    review = ScanReview(KnownClasses(), stored.first, (0.0, 1000.0))

    review.add_class("stomach", stored.class_probability(0) >= 128, stored, 0)

    assert review.slices_to_check == ((7, 7),)
    assert review.confidence == reviewed(maps).confidence
    assert [flag.sign for flag in review.confidence["stomach"].flags] == ["cut"]


def test_nothing_found_has_no_confidence() -> None:
    told = reviewed(maps_of(np.full(SHAPE, -14.0))).confidence["stomach"]

    assert (told.dice, told.slices, told.volume_ml) == (None, (), 0)


@pytest.mark.parametrize("lefts", [(6, 6), (5, 7), (3, 6, 9)])
def test_agreement_is_the_dice_of_all_pairs_of_passes(lefts: tuple[int, ...]) -> None:
    passes = [soft_box(left) for left in lefts]
    soft = [sigmoid_table(1).take(np.rint(p * STEPS).astype(np.int16).view(np.uint16)) for p in passes]
    pairs = [(a, b) for i, a in enumerate(soft) for b in soft[i + 1 :]]
    expected = 2 * sum((a * b).sum() for a, b in pairs) / sum((a**2).sum() + (b**2).sum() for a, b in pairs)

    told = reviewed(maps_of(*passes)).confidence["stomach"]

    assert told.agreement == pytest.approx(expected, abs=0.005)
    assert ("agreement" in [flag.sign for flag in told.flags]) == (expected < 0.8)


def test_levels_are_found_on_a_share_of_the_voxels() -> None:
    assert intensity_levels(np.zeros((9, 9, 2)), Window(low=-100, high=300)) == (-100, 300)
