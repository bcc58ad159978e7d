import pytest
import torch
from torch import nn

from volseg.model.losses.terms import class_probabilities
from volseg.model.networks import PRIOR, DynUNet, Network, SegResNet, SwinUNETR, UNet, init_prior_bias
from volseg.schema import union_members

pytestmark = pytest.mark.slow

SMALL = {
    "unet": UNet(channels=(4, 8, 16), strides=(2, (2, 2, 1))),
    "segresnet": SegResNet(filters=8, blocks_down=(1, 1)),
    "dynunet": DynUNet(filters=(4, 8, 8), strides=((2, 2, 1), 2)),
    "swinunetr": SwinUNETR(feature_size=12),
}
NAMES = list(union_members(Network))


@pytest.mark.parametrize("name", NAMES)
def test_logits_have_the_patchs_size_a_channel_a_class_and_gradients(name: str) -> None:
    network = SMALL[name].build(2, 3)
    x, y, z = SMALL[name].stride
    patch = torch.randn(1, 2, 2 * x, 2 * y, 2 * z)

    logits = network(patch)
    logits.square().mean().backward()

    assert logits.shape == (1, 3, *patch.shape[2:])
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


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
