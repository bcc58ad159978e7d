"""Steps by labels: on the labels themselves they change next to nothing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.config.config import Config
from volseg.data import volume_files
from volseg.postprocessing import (
    DropSmall,
    FillHoles,
    Hysteresis,
    KeepLargest,
    StepInput,
    Threshold,
    applies_to,
    apply_steps,
)
from volseg.postprocessing.label_steps import LEAST_CASES, LabelParts, justify_steps

SPACING = (1.0, 2.0, 2.5)


def scans(*volumes: tuple[float, ...]) -> list[LabelParts]:
    """A case for each scan."""
    return [LabelParts(f"case{number}", one) for number, one in enumerate(volumes)]


def steps_of(labels: list[LabelParts]) -> tuple:
    return justify_steps({"organ": labels}).steps


def test_a_class_of_one_part_keeps_one_and_it_is_said_by_which_numbers() -> None:
    found = justify_steps({"liver": scans(*[(1.2e6,)] * 10, (843e3,))})

    assert found.steps == (KeepLargest(k=1),)
    assert found.reasons == ("liver: never more than 1 part in 11 scans; the smallest has 843 ml",)


def test_a_class_keeps_the_most_parts_it_ever_had_and_none_below_half_of_the_smallest() -> None:
    kidneys = scans(*[(150e3, 140e3)] * 6, (130e3,), (160e3, 64e3))

    assert steps_of(kidneys) == (DropSmall(min_mm3=32e3), KeepLargest(k=2))


def test_the_number_of_many_parts_is_left_alone() -> None:
    found = justify_steps({"bowel": scans(*[(9e4, 8e4, 7e4, 600.0 * 9)] * 7)})

    assert found.steps == (DropSmall(min_mm3=2700),)
    assert "up to 4 parts in 7 scans" in found.reasons[0]


def test_strays_of_a_few_voxels_in_one_scan_are_no_parts() -> None:
    assert steps_of(scans(*[(9e5,)] * 5, (9e5, 36.0, 24.0))) == (KeepLargest(k=1),)


def test_small_parts_in_many_scans_are_no_strays() -> None:
    """A large tumour and small ones: they are less than 1 % of the volume, but no labelling fault."""
    tumours = scans(*[(9e4,)] * 4, *[(9e4, 100.0)] * 2, (8e4, 90.0, 80.0, 70.0))

    assert steps_of(tumours) == (DropSmall(min_mm3=35),)


def test_what_could_only_empty_masks_is_no_step_unless_some_scans_are_without_the_class() -> None:
    assert steps_of(scans(*[(1e5,)] * 6)) == (KeepLargest(k=1),)
    assert steps_of(scans(*[(1e5,)] * 6, ())) == (DropSmall(min_mm3=5e4), KeepLargest(k=1))


def test_days_of_few_cases_justify_nothing() -> None:
    few = [LabelParts(f"case{number % (LEAST_CASES - 1)}", (1e5,)) for number in range(20)]

    found = justify_steps({"organ": few, "absent": scans(*[()] * 20)})

    assert not found.steps
    reason = "no step for organ (4), absent (0): 5 cases that have a class are needed"
    assert found.reasons == (reason,)


def test_steps_stand_behind_what_finds_the_mask_and_name_their_classes() -> None:
    found = justify_steps(
        {"liver": scans(*[(9e5,)] * 5), "bowel": scans(*[(4e4,) * 5] * 5), "spleen": scans(*[(9e4,)] * 5)}
    )

    added = found.added_to((FillHoles(), Threshold(), Hysteresis(), FillHoles()))

    assert added[2:] == (
        Hysteresis(),
        DropSmall(min_mm3=2e4, only=("bowel",)),
        KeepLargest(k=1, only=("liver", "spleen")),
        FillHoles(),
    )
    assert found.added_to(()) == found.steps
    assert [applies_to(step, "bowel") for step in found.added_to(Config().postprocess)] == [
        True, True, False, True
    ]  # fmt: skip


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(5, 12))
def test_applied_to_the_labels_themselves_they_leave_99_percent(seed: int, most: int, number: int) -> None:
    """Each part is a row of voxels with a gap around it; strays are single voxels in any scan."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(number):
        mask = np.zeros((400, 13, 1), bool)
        for row in range(rng.integers(0, most + 1)):
            mask[: rng.integers(1, 400), 2 * row] = True
        mask[0, 12] = rng.random() < rng.choice([0, 0.1, 0.5])
        masks.append(StepInput(mask, mask.astype(np.uint8) * 255, mask, SPACING))
    labels = [
        LabelParts(f"case{n}", tuple(one.components.sizes * one.voxel_mm3)) for n, one in enumerate(masks)
    ]

    steps = steps_of(labels)

    for one in masks:
        left = apply_steps(one, steps, "organ")
        assert left.sum() >= 0.99 * one.mask.sum()
        assert not (left & ~one.mask).any()


@pytest.mark.parametrize("number", [5, 8, 20])
def test_the_same_labels_twice_justify_the_same(number: int) -> None:
    labels = scans(*[(1e5, 2e4 + n) for n in range(number)])

    assert steps_of(labels) == steps_of([*labels, *labels])


def test_on_real_organs_what_other_patients_labels_justify_leaves_a_patient_s_own(shared_data: Path) -> None:
    """14 abdominal MR: each organ is one part, though one left kidney has strays of three and five voxels."""
    organs: dict[int, list[StepInput]] = {number: [] for number in (1, 2, 3, 4)}
    for path in sorted((shared_data / "chaos" / "labelsTr").glob("*.nii.gz")):
        volume = volume_files.read(path)
        for number, of_class in organs.items():
            mask = volume.voxels == number
            of_class.append(StepInput(mask, mask * np.uint8(255), mask, volume.spacing_mm))

    for of_class in organs.values():
        labels = [
            LabelParts(str(n), tuple(one.components.sizes * one.voxel_mm3)) for n, one in enumerate(of_class)
        ]
        assert steps_of(labels) == (KeepLargest(k=1),)
        for n, one in enumerate(of_class):
            left = apply_steps(one, steps_of(labels[:n] + labels[n + 1 :]), "organ")
            assert left.sum() >= 0.99 * one.mask.sum()
    assert max(one.components.count for one in organs[3]) == 3
