import numpy as np
import pytest

from volseg.config.config import validate_values
from volseg.config.sections import Augment
from volseg.planning.training_settings import FEW, SOME, choose_augmentation, choose_average

ISOTROPIC, SLICES = (1.0, 1.0, 1.2), (1.25, 1.25, 7.7)
STRENGTHS = ("scale", "spatial_probability", "gamma", "blur", "contrast", "noise", "intensity_probability")


def variation(scans, classes=("liver",), spacing_mm=ISOTROPIC):
    settings, reasons = choose_augmentation(scans, classes, spacing_mm)
    assert {key.removeprefix("augment.") for key in reasons} <= {"augment", *Augment.model_fields}
    return validate_values({"augment": settings}, "test").augment


def test_fewer_scans_get_no_weaker_variation_and_few_a_stronger_than_the_default():
    few, some, many = (variation(scans) for scans in (FEW - 1, FEW, SOME))

    for name in STRENGTHS:
        assert getattr(few, name) >= getattr(some, name) >= getattr(many, name)
        assert getattr(few, name) > getattr(Augment(), name)
    assert many == Augment(flip=("x",))


def test_scans_are_turned_about_all_axes_only_where_voxels_are_near_cubes():
    assert variation(10).degrees == (20, 20, 20)
    assert variation(10, spacing_mm=SLICES).degrees == (0, 0, 20)


def test_grey_values_of_an_organ_vary_more_in_mr_than_in_ct():
    mr, ct = (
        choose_augmentation(10, ["liver"], ISOTROPIC, ct=ct)[0]["class_contrast"] for ct in (False, True)
    )

    assert mr > np.log(3) > ct > 0  # a spleen of CHAOS is a third as bright as others


@pytest.mark.parametrize("name", ["left_kidney", "Kidney Right", "lungLeft", "lung-RIGHT-upper"])
def test_left_and_right_are_not_mirrored_where_a_class_is_named_by_its_side(name):
    settings, reasons = choose_augmentation(10, ["liver", name], ISOTROPIC)

    assert settings["flip"] == []
    assert name in reasons["augment.flip"]


@pytest.mark.parametrize("name", ["stomach", "bright_tumour", "cleft"])
def test_other_classes_are_mirrored_left_to_right_alone(name):
    assert variation(10, [name]).flip == ("x",)


def test_a_longer_run_averages_no_fewer_steps_but_never_most_of_it():
    runs = (100, 1000, 1001, 3000, 10_000, 30_000, 60_000)
    spans = [1 / (1 - choose_average(steps)[0]) for steps in runs]

    assert spans == sorted(spans)
    assert all(span <= max(100, steps / 5) + 1e-6 for span, steps in zip(spans, runs, strict=True))
    assert choose_average(60_000)[0] == 0.999
