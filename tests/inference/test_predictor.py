from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from tests.strategies import affines
from volseg.config.sections import Data, Gate, Inference
from volseg.data.preprocessing.intensity_scaling import Window
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.inference.predictor import Changes, EnsembleMember, Predictor, PredictorGate
from volseg.model.engines.interface import STEPS
from volseg.model.engines.torch import TorchNetwork
from volseg.model.engines.torch_device import Device
from volseg.postprocessing import (
    DropSmall,
    FillHoles,
    FillHolesInSlices,
    Hysteresis,
    KeepLargest,
    StepChange,
    Threshold,
)
from volseg.system.timing import StepTimer

sizes = st.tuples(*[st.integers(1, 20)] * 3)


class Bright(nn.Module):
    """Logits that are positive where the image is above one half; a second class below."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image - 0.5, 0.5 - image], dim=1) * 100


def member(network: nn.Module | None = None, data: Data | None = None, **inference: object) -> EnsembleMember:
    cpu = Device(torch.device("cpu"), torch.float32)
    settings = Inference.model_validate({"body_box": False, **inference})
    fixed = data or Data(intensity=Window(low=0, high=1))
    return EnsembleMember(TorchNetwork(network or Bright(), cpu), fixed, settings, (8, 8, 8))


def predictor(
    *steps, data: Data | None = None, network: nn.Module | None = None, exclusive: bool = False
) -> Predictor:
    return together(member(network, data), steps=steps, exclusive=exclusive)


def together(*members: EnsembleMember, steps=(), exclusive: bool = False) -> Predictor:
    return Predictor(members, ("bright", "dark"), tuple(steps) or (Threshold(),), exclusive)


def test_a_gate_is_asked_by_the_names_of_classes() -> None:
    """Bright lies in slices 0 and 1, dark in 2 and 3; a gate that calls them otherwise leaves nothing."""
    voxels = np.zeros((4, 4, 4), np.float32)
    voxels[:, :, :2] = 1
    scan, gate = [Volume(voxels, np.eye(4))], Gate(run="g", probability=0.6, pixels=16)
    plain = predictor()
    turned = replace(plain, classes=("dark", "bright"))
    many = Gate(run="g", probability=0.6, pixels=17)

    before = dict(plain.predict_masks(scan))
    same, other, too_many = (
        dict(replace(plain, gate=PredictorGate(by, how)).predict_masks(scan))
        for by, how in ((plain, gate), (turned, gate), (plain, many))
    )

    assert all(np.array_equal(same[name], before[name]) for name in before)
    assert not any(mask.any() for mask in (*other.values(), *too_many.values()))


class Constant(nn.Module):
    """The same two logits everywhere."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits).reshape(1, -1, 1, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(image), -1, *image.shape[2:])


def test_a_weight_is_that_of_all_mirrored_views_of_a_network_together() -> None:
    """By hand: sigmoid(9) by 0.25 and sigmoid(-9) by 0.75 give 0.25006; by views 2 : 1 it were 0.4."""
    scan = [Volume(np.zeros((4, 4, 4), np.float32), np.eye(4))]
    two_views = replace(member(Constant(9.0, 0.0), flips=["x"]), weight=1.0)
    one_view = replace(member(Constant(-9.0, 0.0)), weight=3.0)

    maps = together(two_views, one_view).predict_probabilities(scan, StepTimer())

    assert (maps.class_probability(0) == round(0.25006 * 255)).all()


@given(sizes, affines(), st.integers(0, 99))
def test_masks_lie_on_the_native_grid_whatever_its_orientation(shape, affine, seed) -> None:
    voxels = np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)

    masks = dict(predictor().predict_masks([Volume(voxels, affine)]))

    assert np.array_equal(masks["bright"], voxels == 1)
    assert np.array_equal(masks["dark"], voxels == 0)


def test_masks_come_back_from_another_spacing_on_the_native_grid() -> None:
    voxels = np.zeros((20, 16, 10), np.float32)
    voxels[5:15, 4:12, 3:8] = 1
    volume = Volume(voxels, np.diag([-1.5, -1.5, -3.0, 1.0]))

    found = dict(
        predictor(data=Data(spacing_mm=(1.2, 1.3, 2.5), intensity=Window(low=0, high=1))).predict_masks(
            [volume]
        )
    )["bright"]

    assert found.shape == voxels.shape
    assert 2 * (found & (voxels == 1)).sum() / (found.sum() + voxels.sum()) > 0.85


def test_each_step_of_post_processing_is_applied_and_its_time_told() -> None:
    voxels = np.zeros((12, 12, 12), np.float32)
    voxels[1:6, 1:6, 1:6] = voxels[9:11, 9:11, 9:11] = 1
    seconds = StepTimer()

    masks = dict(predictor(Threshold(), KeepLargest(k=1)).predict_masks([Volume(voxels, np.eye(4))], seconds))

    assert masks["bright"].sum() == 125
    assert set(seconds.by_step) == {"normalise", "network", "blend", "restore", "postprocess"}


class Copy(nn.Module):
    """The channels of the image as logits of as many classes, 0.5 as 0."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image - 0.5) * 10


def channels(shape, seed: int) -> list[Volume]:
    voxels = np.random.default_rng(seed).random((2, *shape)).astype(np.float32)
    return [Volume(channel, np.eye(4)) for channel in voxels]


small = st.tuples(*[st.integers(1, 8)] * 3)


@given(small, st.integers(0, 999))
def test_of_exclusive_classes_the_likeliest_is_taken_or_the_background(shape, seed: int) -> None:
    """At the threshold of one half, on the network's own grid, where no two logits round to the same sum."""
    image = channels(shape, seed)
    logits = np.stack([np.zeros(shape), *((one.voxels - 0.5) * 10 for one in image)])
    assume(np.diff(np.sort(logits, axis=0), axis=0).min() > 1 / STEPS)

    masks = dict(predictor(network=Copy(), exclusive=True).predict_masks(image))

    likeliest = logits.argmax(axis=0)
    assert np.array_equal(masks["bright"], likeliest == 1)
    assert np.array_equal(masks["dark"], likeliest == 2)


steps_of_any_kind = st.lists(
    st.sampled_from(
        [
            Threshold(value=0.01),
            Threshold(value=0.4),
            Threshold(),
            FillHoles(),
            FillHoles(only=("bright",)),
            KeepLargest(),
            DropSmall(min_mm3=3),
        ]
    ),
    max_size=4,
)


@given(small, st.integers(0, 999), steps_of_any_kind)
def test_masks_of_exclusive_classes_never_overlap(shape, seed: int, steps) -> None:
    spacing = Data(spacing_mm=(0.7, 1.0, 1.3), intensity=Window(low=0, high=1))
    for data in (None, spacing):
        found = predictor(*steps, data=data, network=Copy(), exclusive=True)
        masks = [mask for _, mask in found.predict_masks(channels(shape, seed))]

        assert len(masks) == 2
        assert not (masks[0] & masks[1]).any()


def test_masks_of_overlapping_classes_still_do() -> None:
    ones = Volume(np.ones((4, 4, 4), np.float32), np.eye(4))

    masks = dict(predictor(network=Copy()).predict_masks([ones, ones]))

    assert masks["bright"].all()
    assert masks["dark"].all()


def test_an_exclusive_class_inside_another_outlives_the_filling_of_holes() -> None:
    """A tumour in its organ, which is listed first: not background, so no hole."""
    organ, tumour = np.zeros((2, 7, 7, 7), np.float32)
    organ[1:6, 1:6, 1:6] = 1
    organ[2:5, 2:5, 2:5] = 0
    tumour[3, 3, 3] = 1
    image = [Volume(organ, np.eye(4)), Volume(tumour, np.eye(4))]

    masks = dict(predictor(Threshold(), FillHoles(), network=Copy(), exclusive=True).predict_masks(image))

    assert masks["dark"].sum() == 1
    assert masks["bright"].sum() == 124


@given(affines())
def test_slices_are_cleaned_as_slices_whatever_the_orientation(affine) -> None:
    """A tube along one axis is a ring in the slices across it, and only in these."""
    cosines = np.abs(affine[2, :3]) / np.linalg.norm(affine[:3, :3], axis=0)
    for along in range(3):
        tube = np.ones((5, 5, 5), np.float32)
        np.moveaxis(tube, along, 2)[2, 2] = 0

        found = dict(predictor(FillHolesInSlices()).predict_masks([Volume(tube, affine)]))["bright"]

        assert found.all() == (along == cosines.argmax())


def test_what_each_step_changed_is_told_by_class() -> None:
    voxels = np.zeros((12, 12, 12), np.float32)
    voxels[1:6, 1:6, 1:6] = voxels[9:11, 9:11, 9:11] = 1
    volume = Volume(voxels, np.diag([10.0, 10.0, 10.0, 1.0]))  # a voxel is 1 ml
    by = predictor(Threshold(), KeepLargest(k=1, only=("bright",)))
    changes: Changes = {}

    maps = by.predict_probabilities([volume], StepTimer())
    masks = dict(by.postprocess_masks(maps, volume, StepTimer(), changes=changes))

    assert masks["bright"].sum() == 125
    assert changes == {
        "bright": [StepChange("threshold", 2, 2, 0, 0), StepChange("keep_largest", 2, 1, 0, 8)],
        "dark": [StepChange("threshold", 1, 1, 0, 0)],
    }


def test_a_class_that_a_low_threshold_finds_all_over_the_scan_is_refused() -> None:
    """Its box at one half is small enough, but cleaning looks at more."""
    voxels = np.full((9, 9, 9), 0.49, np.float32)
    voxels[4, 4, 4] = 1
    volume = Volume(voxels, np.eye(4))
    for steps, refused in ((Threshold(),), False), ((Hysteresis(low=0.1),), True):
        by = predictor(*steps)
        maps = by.predict_probabilities([volume], StepTimer())
        with pytest.raises(UserError, match="found all over") if refused else nullcontext():
            next(by.postprocess_masks(maps, volume, StepTimer(), most=100))


class Certain(nn.Module):
    """The same logits everywhere, one a class."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.values = torch.tensor(logits).reshape(1, -1, 1, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.values.expand(len(image), -1, *image.shape[2:]).clone()


COARSE = Data(spacing_mm=(2.0, 2.5, 1.5), intensity=Window(low=0, high=1))


@pytest.mark.parametrize("data", [None, COARSE])
def test_probabilities_are_averaged_not_logits_nor_votes(data: Data | None) -> None:
    """By hand: 9, -2 and -4 have probabilities whose mean is .38; the mean logit, 1, would say yes.

    3, 2 and -6 have (.953 + .881 + .002) / 3 = .612; the mean logit, -1/3, would say no.
    """
    rows = ((9.0, -6.0), (-2.0, 3.0), (-4.0, 2.0))
    mean = together(*(member(Certain(*values), data) for values in rows))

    masks = dict(mean.predict_masks([Volume(np.zeros((9, 7, 5), np.float32), np.eye(4))]))

    assert masks["bright"].shape == (9, 7, 5)
    assert not masks["bright"].any()
    assert masks["dark"].all()


@given(sizes, st.integers(0, 99))
def test_the_mean_of_a_network_with_itself_is_itself(shape, seed: int) -> None:
    """Logits are 50 or -50, so that rounding decides nothing."""
    voxels = np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)
    volume, alone = Volume(voxels, np.eye(4)), member()

    once, thrice = (
        list(one.predict_masks([volume])) for one in (together(alone), together(alone, alone, alone))
    )

    for (_, ours), (_, theirs) in zip(once, thrice, strict=True):
        assert np.array_equal(ours, theirs)


def test_a_member_on_another_grid_is_brought_to_the_native_one() -> None:
    """One that is sure finds a box on its own coarse grid; the first is undecided everywhere."""
    voxels = np.zeros((20, 16, 10), np.float32)
    voxels[6:14, 4:12, 3:8] = 1
    mean = together(member(Certain(0.0, 0.0)), member(data=COARSE))

    found = dict(mean.predict_masks([Volume(voxels, np.diag([-1.5, -1.5, -3.0, 1.0]))]))["bright"]

    assert found.shape == voxels.shape
    assert 2 * (found & (voxels == 1)).sum() / (found.sum() + voxels.sum()) > 0.85


def test_each_member_sees_the_image_as_its_own_run_does() -> None:
    """0.09 is below one half for one window of intensities, above for the other: the most have it."""
    voxels = np.full((8, 8, 8), 0.09, np.float32)
    low, high = member(), member(data=Data(intensity=Window(low=0, high=0.1)))

    votes = [
        dict(together(*members).predict_masks([Volume(voxels, np.eye(4))]))["bright"].all()
        for members in ((low, high, low), (low, high, high), (high, low, high))
    ]

    assert votes == [False, True, True]


def test_a_member_that_overflows_is_refused() -> None:
    mean = together(member(), member(Certain(float("inf"), 0.0)))

    with pytest.raises(UserError, match="the network's output is not finite by torch, cpu"):
        list(mean.predict_masks([Volume(np.zeros((8, 8, 8), np.float32), np.eye(4))]))


class Slanted(nn.Module):
    """Sees a ramp along X beside the image: not the same when mirrored."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        ramp = torch.linspace(-6, 6, image.shape[2]).reshape(1, 1, -1, 1, 1)
        return torch.cat([image + ramp, ramp.expand_as(image)], dim=1)


def test_the_mean_over_mirrored_views_is_that_of_probabilities() -> None:
    """Of a ramp r and its mirror image -r it is one half everywhere, up to rounding."""
    one = together(member(Slanted(), flips=("x",)))
    volume = Volume(np.zeros((8, 8, 8), np.float32), np.diag([-1.0, -1, -1, 1]))

    assert len(one.members[0].tta_networks) == 2
    probability = one.predict_probabilities([volume], StepTimer()).class_probability(1).astype(int)

    assert np.abs(probability - 127.5).max() <= 1


@given(st.sampled_from([("x",), ("y", "z"), ("x", "y", "z")]), st.integers(0, 99))
def test_a_network_that_does_not_mind_mirrors_gives_the_same_with_them(flips, seed: int) -> None:
    voxels = np.random.default_rng(seed).integers(0, 2, (9, 13, 7)).astype(np.float32)
    volume = Volume(voxels, np.eye(4))

    plain, mirrored = (dict(together(member(flips=axes)).predict_masks([volume])) for axes in ((), flips))

    assert len(member(flips=flips).tta_networks) == 2 ** len(flips)
    assert np.array_equal(plain["bright"], mirrored["bright"])


def test_outside_the_body_nothing_is_found_and_inside_the_same() -> None:
    """The dark class is all air, so the box cuts it; the bright one is body, and is not touched."""
    voxels = np.zeros((64, 48, 40), np.float32)
    voxels[24:44, 16:36, 12:30] = 1
    volume = Volume(voxels, np.diag([-1.5, -1.5, -3.0, 1.0]))

    boxed, whole = (
        dict(together(member(body_box=chosen)).predict_masks([volume])) for chosen in (True, False)
    )

    assert np.array_equal(boxed["bright"], whole["bright"])
    assert boxed["bright"].sum() == 20 * 20 * 18
    assert 0 < boxed["dark"].sum() < whole["dark"].sum()
