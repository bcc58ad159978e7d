import pytest
import torch
from torch import Tensor, nn

from volseg.model.networks.instance_norm import LAST, ChannelsLastInstanceNorm, use_channels_last_norms

SHAPES = [(1, 3, 8, 6, 4), (2, 5, 4, 4, 4), (1, 1, 4, 4, 4), (3, 4, 2, 1, 1), (1, 16, 9, 7, 5)]
LAYOUTS = [torch.contiguous_format, LAST]


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    torch.manual_seed(0)


def by_definition(x: Tensor, eps: float = 1e-5) -> Tensor:
    away = x - x.mean((2, 3, 4), keepdim=True)
    return away / ((away**2).mean((2, 3, 4), keepdim=True) + eps).sqrt()


@pytest.mark.parametrize("up", LAYOUTS)
@pytest.mark.parametrize("down", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_definition_in_every_layout(shape, down, up) -> None:
    """torch 2.13's own gradient is wrong here for one item and a channels-last gradient."""
    values, gradient = (torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64))
    true, found = (values.clone().requires_grad_() for _ in range(2))

    by_definition(true).backward(gradient)
    given = found.contiguous(memory_format=down)
    normal = ChannelsLastInstanceNorm(shape[1])(given)
    normal.backward(gradient.contiguous(memory_format=up))

    torch.testing.assert_close(normal, by_definition(values))
    torch.testing.assert_close(found.grad, true.grad)


def test_bfloat16_is_rounded_once() -> None:
    values = (3 + torch.randn(2, 8, 16, 16, 16)).bfloat16()

    normal = ChannelsLastInstanceNorm(8)(values)

    assert normal.dtype == torch.bfloat16
    torch.testing.assert_close(normal.float(), by_definition(values.float()), rtol=2**-8, atol=2**-8)


def test_channels_last_data_stay_channels_last() -> None:
    values = torch.randn(2, 8, 4, 4, 4).contiguous(memory_format=LAST).requires_grad_()

    normal = ChannelsLastInstanceNorm(8)(values)

    assert normal.is_contiguous(memory_format=LAST)


def test_weights_and_their_names_stay() -> None:
    plain = nn.Sequential(nn.Conv3d(1, 4, 3), nn.InstanceNorm3d(4, affine=True), nn.BatchNorm3d(4))
    nn.init.uniform_(plain[1].weight, 0.5, 1.5)  # the batch norm divides by it, and by rounding with it
    nn.init.normal_(plain[1].bias)
    values, weights = (torch.randn(2, 1, 6, 6, 6), {k: v.clone() for k, v in plain.state_dict().items()})
    before = plain(values)

    changed = use_channels_last_norms(plain)

    assert type(changed[1]) is ChannelsLastInstanceNorm
    assert list(weights) == list(changed.state_dict())
    assert torch.equal(weights["1.weight"], changed[1].weight)
    torch.testing.assert_close(changed.train()(values), before, rtol=1e-4, atol=1e-5)


def test_one_voxel_has_no_deviation() -> None:
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        ChannelsLastInstanceNorm(4)(torch.randn(1, 4, 1, 1, 1))


def test_group_norms_of_one_channel_each_are_replaced_too_and_others_stay() -> None:
    plain = nn.Sequential(nn.GroupNorm(4, 4), nn.GroupNorm(2, 4))
    nn.init.normal_(plain[0].weight)
    nn.init.normal_(plain[0].bias)
    values = torch.randn(2, 4, 6, 6, 6)
    names, before = list(plain.state_dict()), plain(values)

    changed = use_channels_last_norms(plain)

    assert [type(norm) for norm in changed] == [ChannelsLastInstanceNorm, nn.GroupNorm]
    assert list(changed.state_dict()) == names
    torch.testing.assert_close(changed(values), before, rtol=1e-4, atol=1e-5)
