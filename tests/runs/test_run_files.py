"""What went into a run's weights: own scans and those of its ancestors, each known by its image first."""

import pytest

from volseg.data.image_identity import ScanIdentity
from volseg.runs.run_files import RunSplits, TrainedOn

OLD = RunSplits(
    dataset="raw",
    classes=("a", "b"),
    exclusive=False,
    channels=("mr",),
    fold=0,
    train=("case1_day0", "case1_day1"),
    unseen_cases=("case2_day0",),
    later_days=("case1_day9",),
)
"""As earlier versions wrote it."""
CASES = {"case1_day0": "anna", "case1_day1": "anna", "case2_day0": "berta", "case1_day9": "anna"}
NEW = OLD.model_copy(update={"cases": CASES, "images": {name: f"image of {name}" for name in CASES}})


def scan(name: str, case: str = "", image: str = "") -> ScanIdentity:
    return ScanIdentity(name=name, case=case or name.partition("_")[0], image=image)


def test_it_knows_the_set_of_a_scan() -> None:
    assert OLD.split_name(scan("case2_day0")) == "unseen_cases"
    assert OLD.split_name(scan("case7_day0")) == "other"
    assert NEW.split_name(scan("renamed", image="image of case2_day0")) == "unseen_cases"
    assert NEW.split_name(scan("case2_day0", image="another patient's")) == "other"


def test_without_hashes_names_tell_what_training_saw() -> None:
    assert OLD.seen_in_training(scan("case1_day0", image="any")) == "scan"
    assert OLD.seen_in_training(scan("case1_day9")) == "case"
    assert OLD.seen_in_training(scan("case2_day0")) == "none"
    assert NEW.seen_in_training(scan("case1_day0", "anna")) == "scan"


@pytest.mark.parametrize("name", ["case1_day0", "case2_day0", "image"])
def test_an_image_that_training_saw_was_seen_by_whatever_name(name: str) -> None:
    assert NEW.seen_in_training(scan(name, image="image of case1_day0")) == "scan"


def test_names_of_cases_say_nothing_where_most_known_names_have_other_images() -> None:
    seen = {name: scan(name, CASES[name], NEW.images[name]) for name in CASES}
    others = {name: scan(name, CASES[name], f"elsewhere {name}") for name in CASES}
    new_day = scan("case1_day30", "anna", image="new")

    same = NEW.trained_on.for_dataset([*seen.values(), new_day])
    corrected = NEW.trained_on.for_dataset([others["case1_day0"], seen["case1_day1"], seen["case2_day0"]])
    foreign = NEW.trained_on.for_dataset([*others.values(), new_day])

    assert [one.seen_in_training(new_day) for one in (same, corrected, foreign)] == ["case", "case", "none"]
    assert {foreign.seen_in_training(other) for other in others.values()} == {"none"}
    assert corrected.seen_in_training(others["case1_day0"]) == "case"
    assert foreign.seen_in_training(seen["case1_day0"]) == "scan"
    assert [foreign.has_namesake(other) for other in others.values()] == [True, True, False, False]
    assert not any(foreign.has_namesake(one) for one in (*seen.values(), new_day))


def test_cases_go_by_the_run_s_own_table() -> None:
    assert NEW.seen_in_training(scan("other_name", "anna")) == "case"
    assert NEW.seen_in_training(scan("case1_day7", "case1")) == "none"


def test_what_ancestors_saw_and_were_chosen_by_counts_as_own() -> None:
    parent = NEW.model_copy(update={"inherited": OLD.trained_on})
    child = NEW.model_copy(
        update={
            "train": ("case5_day0",),
            "unseen_cases": ("case1_day0",),
            "later_days": (),
            "inherited": parent.trained_on,
        }
    )

    assert child.seen_in_training(child.identity_of("case1_day0")) == "scan"
    assert child.seen_in_training(scan("case1_day30", "anna")) == "case"
    assert child.chose_weights(scan("case1_day0", image="image of case1_day0"))
    assert child.chose_weights(scan("case2_day0"))
    assert not child.chose_weights(scan("case5_day0"))


def test_without_validation_no_scan_chose_the_weights() -> None:
    last = NEW.model_copy(update={"unseen_cases": (), "later_days": ()})

    assert not last.trained_on.chose
    assert not last.chose_weights(scan("case2_day0"))


def test_the_same_ancestor_twice_counts_once() -> None:
    one = TrainedOn(fitted=(scan("a"),), chose=(scan("b"),), unknown=("bundle",))

    assert one + one == one
