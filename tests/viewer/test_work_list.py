"""The work list: every range once, the worst of the least trusted class first."""

from pathlib import Path

from volseg.inference.prediction_folder import Prediction
from volseg.viewer.work_list import work_items, work_ranges


def prediction(check=(), **slices) -> Prediction:
    confidence = {
        name: {"dice": dice, "calibrated": True, "volume_ml": 1.0, "slices": ranges}
        for name, (dice, ranges) in slices.items()
    }
    return Prediction.model_validate({
        "scan": "a", "status": "done", "classes": list(slices), "seen": "none", "folder": Path(),
        "confidence": confidence, "check": check,
    })  # fmt: skip


def test_the_least_trusted_class_comes_first_and_its_second_range_after_the_first_of_others() -> None:
    one = prediction(liver=(0.9, [(1, 2)]), stomach=(0.5, [(7, 8), (4, 4)]))

    assert work_ranges(one) == [((7, 8), "stomach"), ((1, 2), "liver"), ((4, 4), "stomach")]


def test_a_range_of_two_classes_is_looked_at_once() -> None:
    assert work_ranges(prediction(a=(0.9, [(1, 2)]), b=(0.5, [(1, 2)]))) == [((1, 2), "b")]


def test_what_no_class_has_by_itself_is_last_and_of_all_classes() -> None:
    one = prediction(check=[(9, 9), (2, 3)], a=(0.9, [(1, 2)]))

    assert work_ranges(one) == [((1, 2), "a"), ((9, 9), "")]


def test_a_class_without_a_mask_is_the_last_to_look_at() -> None:
    assert [name for _, name in work_ranges(prediction(a=(None, [(1, 1)]), b=(0.9, [(2, 2)])))] == ["b", "a"]


def test_places_run_upwards_where_numbers_run_down() -> None:
    items = [*work_items(prediction(a=(0.9, [(11, 13)])), [14, 13, 12, 11, 10])]

    assert items == [{"class": "a", "first": 1, "last": 3, "numbers": [11, 13]}]


def test_slices_that_are_not_there_are_left_out() -> None:
    assert not [*work_items(prediction(a=(0.9, [(11, 99)])), [10, 11, 12])]
