"""Depthwise convolutions, trained in float32 on a CPU."""

import copy

import pytest
import torch
from torch import nn

from volseg.model.networks import MedNeXt
from volseg.model.networks.supervised_mednext import (
    DepthwiseConv3d,
    DepthwiseConvTranspose3d,
    use_float32_depthwise,
)

KINDS = {
    "down": nn.Conv3d(4, 4, 3, stride=2, padding=1, groups=4),
    "up": nn.ConvTranspose3d(4, 4, 3, stride=2, padding=1, groups=4),
}


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_the_gradient_is_that_of_float32_and_the_output_is_rounded_once(kind: str) -> None:
    torch.manual_seed(0)
    plain, ours = (nn.Sequential(copy.deepcopy(KINDS[kind])) for _ in range(2))
    use_float32_depthwise(ours)
    image = torch.randn(2, 4, 6, 5, 4).bfloat16()
    one, other = (image.clone().requires_grad_() for _ in range(2))

    exact = plain(one.float())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = ours(other)
    gradient = torch.randn_like(exact).bfloat16()
    exact.backward(gradient.float())
    rounded.backward(gradient)

    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded, exact.bfloat16(), rtol=0, atol=0)
    torch.testing.assert_close(ours[0].weight.grad, plain[0].weight.grad)
    torch.testing.assert_close(other.grad, one.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_without_gradients_it_is_torchs_own(kind: str) -> None:
    plain, ours = (nn.Sequential(copy.deepcopy(KINDS[kind])) for _ in range(2))
    use_float32_depthwise(ours)
    image = torch.randn(1, 4, 6, 5, 4)

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(ours(image), plain(image), rtol=0, atol=0)


def test_all_depthwise_convolutions_of_a_mednext_are_and_no_others() -> None:
    with torch.device("meta"):
        network = MedNeXt().build(1, 2)

    grouped = {type(part) for part in network.modules() if getattr(part, "groups", 1) > 1}
    assert grouped == {DepthwiseConv3d, DepthwiseConvTranspose3d}
    assert any(type(part) is nn.Conv3d for part in network.modules())
