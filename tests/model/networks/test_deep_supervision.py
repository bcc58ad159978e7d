"""The laws of networks that give logits of several levels in training."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from tests.model.networks.test_networks import SMALL
from volseg.model.networks import DynUNet, Network, init_prior_bias
from volseg.model.networks.deep_supervision import DeepSupervision, level_weights
from volseg.schema import union_members

pytestmark = pytest.mark.slow

NAMES = [name for name, kind in union_members(Network).items() if issubclass(kind, DeepSupervision)]


def supervised(name: str, *, on: bool = True, **settings: object) -> DeepSupervision:
    """A small network of this kind with deep supervision, or without."""
    update = {"deep_supervision": on, "level_weights": None, **settings}
    return type(SMALL[name]).model_validate({**SMALL[name].model_dump(), **update})


def patch(config: DeepSupervision) -> torch.Tensor:
    x, y, z = config.stride
    return torch.randn(1, 1, 2 * x, 4 * y, 2 * z, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_training_sees_each_level_finest_first_and_evaluation_the_finest_alone(name: str) -> None:
    config = supervised(name)
    network, image = config.build(1, 3), patch(config)

    levels = network.train()(image)
    finest = network.eval()(image)

    sizes = [math.prod(logits.shape[2:]) for logits in levels]
    assert isinstance(levels, tuple)
    assert len(levels) == config.outputs >= 2
    assert {logits.shape[:2] for logits in levels} == {(1, 3)}
    assert sizes == sorted(set(sizes), reverse=True)
    assert levels[0].shape[2:] == image.shape[2:]
    assert all(n % m == 0 for level in levels for n, m in zip(image.shape[2:], level.shape[2:], strict=True))
    torch.testing.assert_close(finest, levels[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_level_starts_with_every_class_rare(name: str) -> None:
    config = supervised(name)
    network = config.build(1, 3)
    for values in network.parameters():
        nn.init.zeros_(values)

    init_prior_bias(network, 3, exclusive=True)

    for logits in network.train()(patch(config)):
        background = 1 / (1 + logits.exp().sum(1))
        torch.testing.assert_close(background, torch.full_like(background, 0.9))


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_trained(name: str) -> None:
    """Several processes that train together wait for the gradient of each."""
    for config in (supervised(name), supervised(name, level_weights=(1, 1)), supervised(name, on=False)):
        network = config.build(1, 2).train()
        levels = network(patch(config))
        sum(one.square().mean() for one in (levels if isinstance(levels, tuple) else [levels])).backward()

        assert [key for key, values in network.named_parameters() if values.grad is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_weights_without_heads_fit_a_network_with_them(name: str) -> None:
    """All else of a network is what it was, so a run goes on from one trained without."""
    plain, heads = (supervised(name, on=on).build(1, 2).eval() for on in (False, True))

    missing = heads.load_state_dict(plain.state_dict(), strict=False)

    image = patch(SMALL[name])
    assert missing.missing_keys
    assert not missing.unexpected_keys
    torch.testing.assert_close(heads(image), plain(image), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_weights_is_that_of_levels(name: str) -> None:
    _, most = supervised(name).supervised_levels

    assert len(supervised(name, level_weights=(1,) * most).build(1, 2)(patch(SMALL[name]))) == most
    with pytest.raises(ValueError, match=rf"level_weights: {most} levels give logits \(got {most + 1}\)"):
        supervised(name, level_weights=(1,) * (most + 1))
    with pytest.raises(ValueError, match="level_weights: set deep_supervision: true too"):
        supervised(name, on=False, level_weights=(1, 1))


def test_the_coarsest_level_of_the_decoder_has_no_say_unless_it_is_asked_for() -> None:
    """As in nnU-Net: six levels have five in the decoder, of which four are judged."""
    six = DynUNet(filters=(4,) * 6, deep_supervision=True)

    assert (six.outputs, six.supervised_levels) == (4, (4, 5))
    assert (DynUNet().outputs, level_weights(DynUNet())) == (1, None)
    assert level_weights(DynUNet(deep_supervision=True, level_weights=(3, 1))) == (3, 1)
    assert level_weights(SMALL["unet"]) is None


def test_levels_of_a_dynunet_are_monais_before_it_enlarges_them() -> None:
    from monai.networks.nets import DynUNet as Monais

    torch.manual_seed(0)
    config = DynUNet(filters=(4, 8, 8, 8), strides=((2, 2, 1), 2, 2), deep_supervision=True)
    ours, strides = config.build(1, 2), [(2, 2, 1), 2, 2]
    theirs = Monais(
        3, 1, 2, [[3] * 3] * 4, [1, *strides], strides,
        filters=config.filters, deep_supervision=True, deep_supr_num=1,
    )  # fmt: skip
    theirs.load_state_dict(ours.state_dict())
    image = patch(config)

    enlarged = [interpolate(logits, image.shape[2:]) for logits in ours(image)]

    torch.testing.assert_close(torch.stack(enlarged, dim=1), theirs(image), rtol=1e-4, atol=1e-4)
