import pytest
import torch
from torch import nn

from volseg.model.engines.torch_device import Device
from volseg.model.losses import DiceCE
from volseg.model.losses.levels import loss_of_levels
from volseg.model.losses.terms import class_probabilities
from volseg.model.networks import (
    PRIOR,
    DynUNet,
    MedNeXt,
    Network,
    ResEnc,
    SegResNet,
    SwinUNETR,
    UNet,
    UNet25D,
    init_prior_bias,
)
from volseg.model.networks.residual_encoder import ResidualBlock
from volseg.model.networks.strides import Stride
from volseg.schema import union_members

pytestmark = pytest.mark.slow

SMALL = {
    "unet": UNet(channels=(4, 8, 16), strides=(2, (2, 2, 1))),
    "segresnet": SegResNet(filters=8, blocks_down=(1, 1)),
    "dynunet": DynUNet(filters=(4, 8, 8), strides=((2, 2, 1), 2)),
    "resenc": ResEnc(filters=(4, 8, 8), blocks=(1, 2, 1), strides=((2, 2, 1), 2), kernels=((3, 3, 1), 3, 3)),
    "mednext": MedNeXt(filters=4),
    "swinunetr": SwinUNETR(feature_size=12),
    "unet25d": UNet25D(offsets=(-2, 0, 1), decoder=(8, 8, 8, 8, 8)),
}
NAMES = list(union_members(Network))


@pytest.mark.parametrize("name", NAMES)
def test_logits_have_the_patchs_size_a_channel_a_class_and_gradients(name: str) -> None:
    network = SMALL[name].build(2, 3)
    x, y, z = SMALL[name].stride
    patch = torch.randn(1, 2, 2 * x, 2 * y, 2 * z)

    outputs = network(patch)
    logits = outputs[0] if isinstance(outputs, tuple) else outputs
    logits.square().mean().backward()

    assert logits.shape == (1, 3, *patch.shape[2:])
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "swinunetr"])  # seconds a step
def test_a_step_of_training_lowers_the_loss_in_every_precision(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    device = Device(torch.device("cpu"), dtype)
    network = device.place_network(SMALL[name].build(1, 2)).train()
    init_prior_bias(network, 2, exclusive=True)
    x, y, z = SMALL[name].stride
    image = device.send_batch(torch.randn(2, 1, 2 * x, 2 * y, 2 * z if z > 1 else 6))
    labels = torch.cat([image > 0.5, image < -0.5], dim=1).byte()
    descent = torch.optim.Adam(network.parameters(), 1e-2)

    losses = []
    for _ in range(3):
        descent.zero_grad()
        with device.autocast():
            outputs = network(image)
        loss = loss_of_levels(DiceCE(), outputs, labels, exclusive=True)
        loss.backward()
        descent.step()
        losses.append(loss.item())

    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert min(losses[1:]) < losses[0]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "swinunetr"])
def test_sizes_off_the_stride_do_not_fit(name: str) -> None:
    """The stated stride is no larger than it has to be."""
    network = SMALL[name].build(1, 1).eval()
    size = [3 * max(1, n // 2) for n in SMALL[name].stride]

    try:
        shape = network(torch.randn(1, 1, *size)).shape[2:]
    except (RuntimeError, ValueError):
        return
    assert list(shape) != size


@pytest.mark.parametrize("name", NAMES)
def test_every_network_has_a_small_one_to_test(name: str) -> None:
    assert SMALL[name].name == name
    assert union_members(Network)[name]().stride


def test_blocks_and_kernels_must_match_the_levels() -> None:
    with pytest.raises(ValueError, match=r"blocks: 6 levels need 6 numbers \(got 2\)"):
        ResEnc(blocks=(2, 2))
    with pytest.raises(ValueError, match=r"kernels: 6 levels need 6 kernels \(got 1\)"):
        ResEnc(kernels=(3,))


def test_the_residual_encoder_is_that_of_nnu_nets_presets() -> None:
    """102 million parameters (Isensee et al. 2024, table 3), all but some in the encoder's blocks."""
    with torch.device("meta"):
        network = ResEnc().build(1, 3)

    assert [len(stage) for stage in network.encoder] == [1, 3, 4, 6, 6, 6]
    assert sum(values.numel() for values in network.parameters()) == pytest.approx(102.35e6, rel=1e-3)


@pytest.mark.parametrize("shape", [((2, 2, 1), (1, 1, 1)), ((1, 1, 1), (2, 1, 2))])
def test_a_residual_block_begins_as_its_connection(shape: tuple[Stride, Stride]) -> None:
    """Its second norm has the weight 0, so that what it adds is learnt."""
    stride, kernel = shape
    block = ResidualBlock(3, 3, tuple(2 * n - 1 for n in kernel), stride)
    image = torch.randn(1, 3, 4, 4, 4)

    expected = torch.nn.functional.leaky_relu(torch.nn.functional.avg_pool3d(image, stride), 0.01)

    torch.testing.assert_close(block(image), expected)


@pytest.mark.parametrize("size", ["S", "B", "M", "L"])
def test_mednexts_of_all_sizes_are_monais(size: str) -> None:
    from monai.networks.nets.mednext import create_mednext

    with torch.device("meta"):
        ours = MedNeXt(size=size).build(1, 3)
        theirs = create_mednext(size, in_channels=1, out_channels=3, deep_supervision=True)

    shapes = [{name: value.shape for name, value in one.state_dict().items()} for one in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_only_group_norms_ask_for_a_multiple_of_their_groups(norm: str) -> None:
    assert SegResNet(filters=12, norm=norm).build(1, 1)
    with pytest.raises(ValueError, match=r"filters: 12 is no multiple of 8, .*; 16 would be, or norm: batch"):
        SegResNet(filters=12)


@pytest.mark.parametrize("network", [UNet, DynUNet])
def test_strides_must_match_the_levels(network) -> None:
    with pytest.raises(ValueError, match="5 levels need 4 steps"):
        network(strides=(2, 2))


@pytest.mark.parametrize("name", NAMES)
def test_training_starts_with_every_class_rare(name: str) -> None:
    network = SMALL[name].build(1, 3).eval()
    x, y, z = SMALL[name].stride

    init_prior_bias(network, 3, exclusive=False)

    with torch.no_grad():
        logits = network(torch.randn(1, 1, 2 * x, 2 * y, 2 * z))
    found = class_probabilities(logits, exclusive=False)
    assert found.median().item() == pytest.approx(PRIOR, abs=0.08)


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_exclusive_classes_are_rare_together_however_many_they_are(classes: int) -> None:
    layer = nn.Conv3d(1, classes, 1)
    nn.init.zeros_(layer.weight)

    init_prior_bias(layer, classes, exclusive=True)

    found = class_probabilities(layer(torch.ones(1, 1, 2, 2, 2)), exclusive=True)
    assert found.sum(dim=1).flatten().tolist() == pytest.approx([PRIOR] * 8)
    assert found.std(dim=1, correction=0).max() < 1e-6
