"""In float64, where nothing but the mathematics can differ."""

from copy import deepcopy
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from volseg.model.engines.graph_rewriting import rewrite_network
from volseg.model.engines.graph_rewriting.block_convolution import (
    BlockConvTranspose,
    depth_to_space,
    is_block_convertible,
    same_size_block_conv,
)
from volseg.model.engines.graph_rewriting.swin import _gather_indices_untraced
from volseg.model.engines.graph_rewriting.unet import BlockLastLevel, MergedResidualUnit
from volseg.model.networks import DynUNet, MedNeXt, Network, ResEnc, SegResNet, SwinUNETR, UNet, UNet25D
from volseg.schema import union_members

pytestmark = pytest.mark.slow

UNETS = {
    "unet": UNet(channels=(4, 8, 16)),
    "unet-anisotropic": UNet(channels=(4, 8, 8), strides=((2, 2, 1), (2, 1, 2))),
    "unet-stride-3": UNet(channels=(4, 8), strides=((3, 2, 1),), dropout=0.3),
    "unet-batch": UNet(channels=(4, 8), strides=(2,), norm="batch", dropout=0.1),
    "unet-no-units": UNet(channels=(4, 8, 8), res_units=0),
    "unet-one-unit": UNet(channels=(4, 8), res_units=1, norm="batch"),
    "unet-three-units": UNet(channels=(4, 4, 4), strides=(1, 2), res_units=3),
}
NETWORKS = UNETS | {
    "segresnet": SegResNet(filters=8, blocks_down=(1, 2, 1)),
    "segresnet-16": SegResNet(filters=16, blocks_down=(1, 1), dropout=0.2),
    "dynunet": DynUNet(filters=(4, 8, 8), strides=((2, 2, 1), 2)),
    "dynunet-stride-3": DynUNet(filters=(4, 8, 8), strides=((1, 2, 3), 2)),
    "dynunet-residual": DynUNet(filters=(4, 8, 8), strides=(2, (1, 2, 2)), residual=True),
    "resenc": ResEnc(
        filters=(4, 8, 8), blocks=(1, 2, 1), strides=((2, 2, 1), (3, 1, 2)), kernels=(3, (3, 1, 5), 3)
    ),
    "mednext": MedNeXt(filters=4),
    "segresnet-batch": SegResNet(filters=12, blocks_down=(1, 1), norm="batch", act="prelu"),
    "segresnet-instance": SegResNet(filters=4, blocks_down=(1, 1), norm="instance", act="leakyrelu"),
    "swinunetr": SwinUNETR(feature_size=12),
    "unet25d": UNet25D(decoder=(8, 8, 8, 8, 8)),
}


def trained(config, inputs: int, classes: int) -> nn.Module:
    """A network in evaluation, no weight or statistic of which is what it was at first."""
    torch.manual_seed(0)
    network = config.build(inputs, classes).eval()
    for name, values in network.state_dict().items():
        if name.endswith(("running_var", "A.weight")):
            nn.init.uniform_(values, 0.1, 2)
        elif values.ndim == 1 and values.is_floating_point():
            nn.init.normal_(values, 0.3, 0.5)
    return network.double()


def window(config, inputs: int) -> Tensor:
    """Two items of few voxels, other ones on each axis."""
    shape = [n * more for n, more in zip(config.stride, (2, 3, 4), strict=True)]
    if config.name == "swinunetr":
        shape = [64, 32, 32]
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, inputs, *shape, generator=generator, dtype=torch.float64)


def check(config, classes: int, inputs: int = 1) -> nn.Module:
    """The rewritten network, whose logits are those of the given one."""
    network, image = trained(config, inputs, classes), window(config, inputs)
    quick = rewrite_network(network)
    with torch.no_grad():
        torch.testing.assert_close(quick(image), network(image), rtol=1e-9, atol=1e-9)
    return quick


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_the_network(name: str) -> None:
    check(NETWORKS[name], classes=3)


@pytest.mark.parametrize(("name", "classes"), [*product(UNETS, (1, 8))])
def test_logits_of_a_unet_are_the_same_whatever_the_classes(name: str, classes: int) -> None:
    check(UNETS[name], classes, inputs=2)


def test_every_network_is_rewritten_here() -> None:
    assert {config.name for config in NETWORKS.values()} == set(union_members(Network))


@pytest.mark.parametrize("name", ["unet", "unet-batch", "dynunet", "segresnet"])
def test_the_network_stays_as_it_was(name: str) -> None:
    network = trained(NETWORKS[name], 1, 3)
    kinds = [type(module) for module in network.modules()]
    weights = deepcopy(network.state_dict())

    rewrite_network(network)

    assert [type(module) for module in network.modules()] == kinds
    assert all(torch.equal(weights[k], v) for k, v in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("classes", "norm", "blocks"), [(1, "instance", 1), (3, "batch", 1), (8, "instance", 0)]
)
def test_few_classes_have_their_last_level_in_blocks(classes, norm, blocks) -> None:
    quick = check(UNet(channels=(4, 8, 8), norm=norm), classes)

    found = [type(module) for module in quick.modules()]
    assert found.count(BlockLastLevel) == blocks
    assert found.count(BlockConvTranspose) == 2 - blocks
    assert found.count(MergedResidualUnit) == 2  # of three units on the way down one doesn't step
    assert nn.ConvTranspose3d not in found


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("size", [(15, 16, 9), (14, 7, 8), (5, 6, 7)])
def test_a_trace_of_a_stage_keeps_its_indices_and_is_the_same_a_second_time(size) -> None:
    """Sizes whose windows need padding, and which are shifted on all axes, on some and on none."""
    network = trained(NETWORKS["swinunetr"], 1, 2)
    image = torch.randn(2, 12, *size, dtype=torch.float64)
    _gather_indices_untraced.cache_clear()

    with torch.no_grad():
        trace = torch.jit.trace(rewrite_network(network).swinViT.layers1[0], image[:1])
        expected = network.swinViT.layers1[0](image)
        torch.testing.assert_close(trace(image), expected, rtol=1e-9, atol=1e-9)

    assert "aten::argsort" not in str(trace.inlined_graph)


SHAPES = [
    (kernel, stride, padding, more)
    for kernel, stride, padding, more in product((2, 3, 4), (1, 2, 3), (0, 1), (0, 1))
    if more < stride
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "more"), SHAPES)
def test_transposed_convolutions_are_torchs(kernel, stride, padding, more) -> None:
    torch.manual_seed(0)
    conv = nn.ConvTranspose3d(
        3, 2, (kernel, 3, kernel), (stride, 2, 1), (padding, 1, 0), (more, 1, 0), dtype=torch.float64
    )
    image = torch.randn(2, 3, 4, 3, 5, dtype=torch.float64)

    assert is_block_convertible(conv)
    torch.testing.assert_close(BlockConvTranspose(conv)(image), conv(image), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("other", [{"groups": 2}, {"dilation": 2}, {"stride": 3}])
def test_other_transposed_convolutions_stay(other) -> None:
    parent = nn.Sequential(nn.ConvTranspose3d(2, 2, 3, **other))

    assert type(rewrite_network(parent)[0]) is nn.ConvTranspose3d


@pytest.mark.parametrize("size", [(2, 2, 2), (2, 1, 2), (3, 2, 1)])
def test_a_convolution_of_blocks_spreads_to_that_of_voxels(size) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(2, 3, (3, 5, 1), padding=(1, 2, 0), dtype=torch.float64)
    blocks = torch.randn(1, 2 * size[0] * size[1] * size[2], 3, 4, 5, dtype=torch.float64)

    found = depth_to_space(same_size_block_conv(conv, size)(blocks), size)

    torch.testing.assert_close(found, conv(depth_to_space(blocks, size)), rtol=1e-12, atol=1e-12)
