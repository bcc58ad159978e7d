"""Splits without names tell what they can of a scan by its image, and say where they can't."""

from volseg.data.image_identity import ScanIdentity
from volseg.runs.nameless import nameless_splits
from volseg.runs.run_files import FileChecksums, RunSplits
from volseg.runs.trained_on import TrainedOn

IMAGES = {"anna_0": "a0", "anna_1": "a1", "ben_0": "b0", "cleo_0": "c0", "dora_0": "d0"}
NAMED = RunSplits(
    dataset="tiny",
    classes=("a",),
    exclusive=False,
    channels=("mr",),
    fold=0,
    train=("anna_0", "ben_0"),
    later_days=("anna_1",),
    unseen_cases=("cleo_0",),
    hold_out=("dora_0",),
    cases={scan: scan.split("_")[0] for scan in IMAGES},
    images=IMAGES,
    files={scan: FileChecksums(image="x") for scan in IMAGES},
)
NAMELESS = nameless_splits(NAMED, "r")


def scan(image: str, name: str = "new", case: str = "new") -> ScanIdentity:
    return ScanIdentity(name=name, case=case, image=image)


def test_what_training_saw_of_a_known_scan_is_told_by_its_image_whatever_it_is_called() -> None:
    for name, image in IMAGES.items():
        known, renamed = NAMED.identity_of(name), scan(image)
        for one in (known, renamed):
            assert NAMELESS.seen_in_training(one) == NAMED.seen_in_training(known), name
            assert NAMELESS.chose_weights(one) == NAMED.chose_weights(known), name
            assert NAMELESS.split_name(one) == NAMED.split_name(known), name
    assert NAMED.seen_in_training(NAMED.identity_of("anna_1")) == "case"


def test_of_another_scan_it_is_unknown_whether_training_saw_its_case() -> None:
    another = scan("z9", name="anna_2", case="anna")

    assert NAMED.seen_in_training(another) == "case"
    assert NAMELESS.seen_in_training(another) == "unknown"
    assert NAMELESS.split_name(another) == "other"
    assert NAMELESS.seen_in_training(scan("", name="anna_0", case="anna")) == "unknown"
    assert (NAMELESS.trained_on + NAMED.trained_on).seen_in_training(another) == "case"
    assert (NAMELESS.trained_on + NAMED.trained_on).seen_in_training(scan("z9")) == "unknown"


def test_what_two_packages_know_does_not_hide_what_one_of_them_does_not() -> None:
    other = NAMED.model_copy(update={"train": ("eve_0",), "images": {**IMAGES, "eve_0": "e0"}})
    both = NAMELESS.trained_on + nameless_splits(other.model_copy(update={"hold_out": ()}), "s").trained_on

    assert both.seen_in_training(scan("d0")) == "unknown"  # held out of the one, never heard of in the other
    assert both.seen_in_training(scan("c0")) == "none"
    assert both.seen_in_training(scan("e0")) == "scan"


def test_folds_of_one_run_know_the_same_scans_under_the_same_names() -> None:
    other = NAMED.model_copy(update={"train": ("cleo_0", "ben_0"), "unseen_cases": ("anna_0",)})

    assert nameless_splits(other, "r").trained_on.nameless == NAMELESS.trained_on.nameless


def test_ancestors_lose_their_names_and_are_known_by_their_images() -> None:
    eve = ScanIdentity(name="eve_0", case="eve", image="e0")
    anna = ScanIdentity(name="anna_9", case="anna", image="a9")
    inherited = TrainedOn(fitted=(eve, anna), chose=(ScanIdentity(name="finn_0", case="finn", image="f0"),))
    made = nameless_splits(NAMED.model_copy(update={"train": ("ben_0",), "inherited": inherited}), "r")

    text = made.model_dump_json()
    assert not [name for name in ("anna", "ben", "cleo", "dora", "eve", "finn") if name in text]
    assert made.seen_in_training(scan("e0")) == "scan"
    assert made.seen_in_training(scan("a1")) == "case"  # another day of anna, whom the ancestor saw
    assert made.chose_weights(scan("f0"))
    assert made.leaked_scans == ("image-a1",)


def test_scans_that_nothing_can_tell_are_counted_as_unknown() -> None:
    images = {scan: image for scan, image in IMAGES.items() if scan != "ben_0"}

    made = nameless_splits(NAMED.model_copy(update={"images": images}), "r")

    assert made.train == ("image-a0",)
    assert made.trained_on.unknown == ("r (1 training scan whose images have no hash)",)
