"""The loss of several levels: which labels each is judged by, and how the levels are weighted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from volseg.arrays import IGNORE
from volseg.model.losses import DiceCE, Loss
from volseg.model.losses.levels import at_level, loss_of_levels
from volseg.schema import union_members

SIZES = [(8, 8, 4), (4, 4, 4), (2, 2, 2)]


def case(seed: int = 0) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Logits of three levels of two classes, and disjoint labels, some of them ignored."""
    torch.manual_seed(seed)
    which = torch.randint(0, 3, (2, 1, *SIZES[0]))
    labels = (which == torch.tensor([1, 2]).view(1, 2, 1, 1, 1)).byte()
    labels[torch.rand(labels.shape) < 0.2] = IGNORE
    return tuple(torch.randn(2, 2, *size) for size in SIZES), labels


@given(st.integers(0, 99), st.tuples(*[st.sampled_from([1, 2, 4])] * 3))
def test_labels_of_a_level_are_the_nearest_of_the_finest(seed: int, steps: tuple[int, int, int]) -> None:
    _, labels = case(seed)
    size = [n // step for n, step in zip(SIZES[0], steps, strict=True)]

    found = at_level(labels, size)

    assert found.dtype == torch.uint8
    assert torch.equal(found, interpolate(labels.float(), size, mode="nearest").byte())


def test_labels_stay_where_a_strided_convolution_puts_them() -> None:
    """An encoder whose kernel is its middle voxel alone sees, at each coarse voxel, that label."""
    conv = torch.nn.Conv3d(1, 1, 3, stride=(2, 2, 1), padding=1, bias=False)
    torch.nn.init.zeros_(conv.weight)
    conv.weight.data[..., 1, 1, 1] = 1
    labels = torch.randint(0, 2, (1, 1, 8, 6, 4)).byte()

    assert torch.equal(at_level(labels, (4, 3, 4)).float(), conv(labels.float()))


@pytest.mark.parametrize("loss", union_members(Loss).values())
@pytest.mark.parametrize("exclusive", [False, True])
def test_the_loss_is_the_weighted_mean_over_the_levels(loss, exclusive: bool) -> None:
    outputs, labels = case()
    of_level = [
        loss()(logits, labels[:, :, ::x, ::y, ::z].contiguous(), exclusive=exclusive).item()
        for logits, (x, y, z) in zip(outputs, [(1, 1, 1), (2, 2, 1), (4, 4, 2)], strict=True)
    ]

    halved = loss_of_levels(loss(), outputs, labels, exclusive=exclusive)
    chosen = loss_of_levels(loss(), outputs, labels, exclusive=exclusive, weights=(2, 1, 1))

    assert halved.item() == pytest.approx((4 * of_level[0] + 2 * of_level[1] + of_level[2]) / 7)
    assert chosen.item() == pytest.approx((2 * of_level[0] + of_level[1] + of_level[2]) / 4)


def test_ignored_voxels_have_no_say_at_any_level() -> None:
    outputs, labels = case()
    outputs = tuple(logits.requires_grad_() for logits in outputs)

    loss_of_levels(DiceCE(), outputs, labels, exclusive=False).backward()

    for logits in outputs:
        hidden = interpolate(labels.float(), logits.shape[2:], mode="nearest") == IGNORE
        assert hidden.any()
        assert (logits.grad[hidden] == 0).all()
        assert (logits.grad[~hidden] != 0).all()


def test_a_network_without_levels_has_the_loss_alone() -> None:
    (logits, *_), labels = case()

    assert torch.equal(
        loss_of_levels(DiceCE(), logits, labels, exclusive=True), DiceCE()(logits, labels, exclusive=True)
    )


def test_as_many_weights_as_levels_are_asked_for() -> None:
    outputs, labels = case()

    with pytest.raises(ValueError, match="zip"):
        loss_of_levels(DiceCE(), outputs, labels, exclusive=False, weights=(1, 1))
