from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.strategies import affines
from volseg.data.grid import Window
from volseg.data.settings import Data
from volseg.data.volume import Volume
from volseg.errors import UserError
from volseg.masks.postprocess import DropSmall, FillHoles, KeepLargest, Threshold
from volseg.model.device import Device
from volseg.model.predict import Predictor, Seconds, eight_bit, sliding_window
from volseg.model.settings import Inference

sizes = st.tuples(*[st.integers(1, 20)] * 3)
windows = st.tuples(*[st.sampled_from([4, 6, 8])] * 3)


@given(sizes, windows, st.sampled_from([0.0, 0.25, 0.5, 0.7]), st.integers(1, 3))
def test_an_identity_network_returns_its_input(shape, window, overlap, batch) -> None:
    image = torch.rand(1, 1, *shape)

    # A copy, since MONAI weights what the network returns in place.
    found = sliding_window(torch.clone, image, window, Inference(overlap=overlap, batch=batch))

    assert found.shape == image.shape
    assert torch.allclose(found, image, atol=1e-5)


class Bright(nn.Module):
    """Logits that are positive where the image is above one half; a second class below."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image - 0.5, 0.5 - image], dim=1) * 100


def predictor(
    *steps, data: Data | None = None, network: nn.Module | None = None, exclusive: bool = False
) -> Predictor:
    return Predictor(
        network or Bright(),
        Device(torch.device("cpu"), torch.float32),
        data or Data(intensity=Window(low=0, high=1)),
        Inference(),
        (8, 8, 8),
        ("bright", "dark"),
        steps or (Threshold(),),
        exclusive,
    )


@given(sizes, affines(), st.integers(0, 99))
def test_masks_lie_on_the_native_grid_whatever_its_orientation(shape, affine, seed) -> None:
    voxels = np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)

    masks = dict(predictor().masks([Volume(voxels, affine)]))

    assert np.array_equal(masks["bright"], voxels == 1)
    assert np.array_equal(masks["dark"], voxels == 0)


def test_masks_come_back_from_another_spacing_on_the_native_grid() -> None:
    voxels = np.zeros((20, 16, 10), np.float32)
    voxels[5:15, 4:12, 3:8] = 1
    volume = Volume(voxels, np.diag([-1.5, -1.5, -3.0, 1.0]))

    found = dict(
        predictor(data=Data(spacing_mm=(1.2, 1.3, 2.5), intensity=Window(low=0, high=1))).masks(
            [volume]
        )
    )["bright"]

    assert found.shape == voxels.shape
    assert 2 * (found & (voxels == 1)).sum() / (found.sum() + voxels.sum()) > 0.85


def test_each_step_of_post_processing_is_applied_and_its_time_told() -> None:
    voxels = np.zeros((12, 12, 12), np.float32)
    voxels[1:6, 1:6, 1:6] = voxels[9:11, 9:11, 9:11] = 1
    seconds = Seconds()

    masks = dict(
        predictor(Threshold(), KeepLargest(k=1)).masks([Volume(voxels, np.eye(4))], seconds)
    )

    assert masks["bright"].sum() == 125
    assert set(seconds.by_step) == {"normalise", "network", "restore", "postprocess"}


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
    """At the threshold of one half, on the network's own grid."""
    image = channels(shape, seed)
    logits = [one.voxels - 0.5 for one in image]

    masks = dict(predictor(network=Copy(), exclusive=True).masks(image))

    likeliest = np.stack([np.zeros(shape), *logits]).argmax(axis=0)
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
        masks = [mask for _, mask in found.masks(channels(shape, seed))]

        assert len(masks) == 2
        assert not (masks[0] & masks[1]).any()


def test_masks_of_overlapping_classes_still_do() -> None:
    ones = Volume(np.ones((4, 4, 4), np.float32), np.eye(4))

    masks = dict(predictor(network=Copy()).masks([ones, ones]))

    assert masks["bright"].all()
    assert masks["dark"].all()


def test_an_exclusive_class_inside_another_outlives_the_filling_of_holes() -> None:
    """A tumour in its organ, which is listed first: not background, so no hole."""
    organ, tumour = np.zeros((2, 7, 7, 7), np.float32)
    organ[1:6, 1:6, 1:6] = 1
    organ[2:5, 2:5, 2:5] = 0
    tumour[3, 3, 3] = 1
    image = [Volume(organ, np.eye(4)), Volume(tumour, np.eye(4))]

    masks = dict(predictor(Threshold(), FillHoles(), network=Copy(), exclusive=True).masks(image))

    assert masks["dark"].sum() == 1
    assert masks["bright"].sum() == 124


@pytest.mark.parametrize(
    ("probability", "expected"), [(0.0, 0), (0.5, 128), (0.499, 127), (1.0, 255)]
)
def test_eight_bits_round_to_the_nearest(probability: float, expected: int) -> None:
    assert eight_bit(np.array([probability], np.float32))[0] == expected


class Certain(nn.Module):
    """The same logits everywhere, one a class."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.values = torch.tensor(logits).reshape(1, -1, 1, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.values.expand(len(image), -1, *image.shape[2:]).clone()


COARSE = Data(spacing_mm=(2.0, 2.5, 1.5), intensity=Window(low=0, high=1))


@pytest.mark.parametrize("data", [None, COARSE])
def test_logits_are_averaged_not_probabilities_nor_votes(data: Data | None) -> None:
    """By hand: 9, -2 and -4 give 1; the median and the mean of sigmoids (0.38) would say no."""
    others = tuple(
        predictor(data=data, network=Certain(*values)) for values in ((-2.0, 3.0), (-4.0, 2.0))
    )
    mean = replace(predictor(network=Certain(9.0, -6.0)), others=others)

    masks = dict(mean.masks([Volume(np.zeros((9, 7, 5), np.float32), np.eye(4))]))

    assert masks["bright"].shape == (9, 7, 5)
    assert masks["bright"].all()
    assert not masks["dark"].any()


@pytest.mark.parametrize(("threshold", "passes"), [(0.72, True), (0.74, False)])
def test_the_mean_logit_is_as_certain_as_its_sigmoid_says(threshold: float, passes: bool) -> None:
    """9, -2 and -4 give 1, of which the sigmoid is 0.731."""
    others = tuple(predictor(network=Certain(value, 0.0)) for value in (-2.0, -4.0))
    first = predictor(Threshold(value=threshold), network=Certain(9.0, 0.0))

    masks = dict(
        replace(first, others=others).masks([Volume(np.zeros((8, 8, 8), np.float32), np.eye(4))])
    )

    assert masks["bright"].all() == passes


@given(sizes, st.integers(0, 99))
def test_the_mean_of_a_network_with_itself_is_itself(shape, seed: int) -> None:
    volume = Volume(np.random.default_rng(seed).random(shape, np.float32), np.eye(4))
    alone, spent = predictor(), Seconds()

    once, twice = (
        list(one.masks([volume], spent)) for one in (alone, replace(alone, others=(alone,)))
    )

    for (_, ours), (_, theirs) in zip(once, twice, strict=True):
        assert np.array_equal(ours, theirs)


def test_a_member_on_another_grid_is_brought_to_the_first_ones() -> None:
    """One that is sure finds a box on its own coarse grid; the first is undecided everywhere."""
    voxels = np.zeros((20, 16, 10), np.float32)
    voxels[6:14, 4:12, 3:8] = 1
    mean = replace(predictor(network=Certain(0.0, 0.0)), others=(predictor(data=COARSE),))

    found = dict(mean.masks([Volume(voxels, np.diag([-1.5, -1.5, -3.0, 1.0]))]))["bright"]

    assert found.shape == voxels.shape
    assert 2 * (found & (voxels == 1)).sum() / (found.sum() + voxels.sum()) > 0.85


def test_each_member_sees_the_image_as_its_own_run_does() -> None:
    """Two on their own window of intensities, whichever stands between them and the first."""
    dim = Data(intensity=Window(low=0, high=0.1))
    voxels = np.full(
        (8, 8, 8), 0.09, np.float32
    )  # below one half for one window, above for the other
    low, high = predictor(), predictor(data=dim)

    votes = [
        dict(replace(first, others=others).masks([Volume(voxels, np.eye(4))]))["bright"].all()
        for first, others in ((low, (high, low)), (low, (high, high, high)), (high, (low, high)))
    ]

    assert votes == [False, True, True]


def test_a_member_that_overflows_is_refused() -> None:
    mean = replace(predictor(), others=(predictor(network=Certain(float("inf"), 0.0)),))

    with pytest.raises(UserError, match="the network's output is not finite"):
        list(mean.masks([Volume(np.zeros((8, 8, 8), np.float32), np.eye(4))]))
