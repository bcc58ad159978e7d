from functools import cache

import pytest
import torch
from monai.networks.nets import SwinUNETR as Monai
from monai.networks.nets.swin_unetr import compute_mask
from torch import nn

from volseg.model.networks import SwinUNETR, swin_attention
from volseg.model.networks.instance_norm import ChannelsLastInstanceNorm
from volseg.model.networks.swin_attention import (
    ChunkedWindowAttention,
    SwinStage,
    attend_fused,
    attend_in_chunks,
    window_kinds,
)

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@cache
def pair(features: int = 12) -> tuple[nn.Module, nn.Module]:
    """MONAI's and ours with the same weights, all of them off their first values."""
    torch.manual_seed(0)
    monai = Monai(1, 3, feature_size=features).eval()
    for name, parameter in monai.named_parameters():
        if "bias" in name or "norm" in name:
            nn.init.normal_(parameter, 0.5, 0.5)
    ours = SwinUNETR(feature_size=features).build(1, 3).eval()
    ours.load_state_dict(monai.state_dict(), strict=True)
    return monai, ours.to(memory_format=torch.channels_last_3d)


def test_weights_have_the_names_and_shapes_of_monais() -> None:
    monai, ours = pair()

    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, v.shape) for k, v in monai.state_dict().items()
    ]
    assert {SwinStage, ChunkedWindowAttention, ChannelsLastInstanceNorm} <= {
        type(module) for module in ours.modules()
    }


@pytest.mark.parametrize(
    ("features", "shape"), [(12, (1, 1, 64, 64, 32)), (12, (2, 1, 32, 64, 32)), (24, (1, 1, 64, 32, 32))]
)
def test_logits_are_monais(features: int, shape: tuple[int, ...]) -> None:
    """Sizes whose windows need padding, are smaller than a window, or are shifted on some axes only."""
    monai, ours = pair(features)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        expected, found = monai(image), ours(image)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_bfloat16_rounds_no_more_than_monais() -> None:
    monai, ours = pair()
    image = torch.randn((1, 1, 64, 32, 32), generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        expected = monai(image)
        with torch.autocast("cpu", torch.bfloat16):
            rounded, ours_rounded = monai(image), ours(image)

    error = (rounded.float() - expected).abs()
    assert (ours_rounded.float() - expected).abs().mean() < 1.2 * error.mean()


@pytest.mark.parametrize("size", [(16, 16, 16), (8, 10, 7), (15, 4, 9), (14, 14, 14), (6, 6, 6)])
def test_a_stage_and_its_gradients_are_monais(size: tuple[int, ...]) -> None:
    """In float64, where nothing but the mathematics can differ."""
    data = torch.randn(2, 48, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    results = []
    for network in pair(24):
        stage = network.swinViT.layers2[0].double()
        given = data.clone().requires_grad_()
        stage.zero_grad()
        out = stage(given)
        out.square().sum().backward()
        results.append([out, given.grad, *(p.grad for p in stage.parameters())])
        network.float()

    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shift", [(3, 3, 3), (3, 0, 3), (0, 0, 2)])
def test_each_window_has_the_mask_that_monai_gives_it(shift: tuple[int, ...]) -> None:
    window, grid, batch = (7, 4, 5), (3, 1, 2), 2
    size = [n * w for n, w in zip(grid, window, strict=True)]

    found = window_kinds(grid, window, shift, batch=batch, device=CPU)

    each = torch.stack([m if m is not None else torch.zeros(140, 140) for m in found.masks])
    each = each.repeat_interleave(torch.tensor(found.counts), dim=0)[found.back]
    assert torch.equal(each, compute_mask(size, window, shift, CPU).repeat(batch, 1, 1))
    assert torch.equal(found.order[found.back], torch.arange(len(each)))


@pytest.mark.parametrize("at_once", [1, 10**9])
def test_how_many_windows_are_attended_at_once_changes_nothing(at_once: int, monkeypatch) -> None:
    stage = pair()[1].swinViT.layers1[0]
    data = torch.randn(1, 12, 15, 16, 9)
    expected = stage(data)

    monkeypatch.setattr("volseg.model.networks.swin_attention.CACHED", at_once)

    torch.testing.assert_close(stage(data), expected, rtol=1e-5, atol=1e-6)


def test_the_kernel_of_gpus_gives_the_values_and_gradients_of_the_chunks() -> None:
    attention = pair()[1].swinViT.layers1[0].blocks[0].attn
    shapes = [(5, 3, 40, 4)] * 3 + [(3, 40, 40)]
    found = []
    for attend in (attend_in_chunks, attend_fused):
        draw = torch.Generator().manual_seed(0)
        parts = [torch.randn(shape, generator=draw).requires_grad_() for shape in shapes]
        values = attend(attention, *parts)
        found.append([values, *torch.autograd.grad(values.square().sum(), parts)])

    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("device", "name"), [("cpu", "attend_in_chunks"), ("meta", "attend_fused")])
def test_only_a_cpu_attends_in_chunks(monkeypatch, device: str, name: str) -> None:
    """`meta` stands for any other device."""
    attention = pair()[1].swinViT.layers1[0].blocks[0].attn
    chosen = []
    for function in ("attend_in_chunks", "attend_fused"):
        monkeypatch.setattr(swin_attention, function, lambda *_, function=function: chosen.append(function))

    attention._attend(*(torch.empty(2, 3, 8, 4, device=device) for _ in range(3)), torch.empty(3, 8, 8))

    assert chosen == [name]


def test_checkpoints_change_no_gradient() -> None:
    image, gradients = torch.randn(1, 1, 32, 64, 32), []
    for saving in (False, True):
        network = SwinUNETR(feature_size=12, use_checkpoint=saving).build(1, 3)
        network.load_state_dict(pair()[0].state_dict())
        network(image).square().mean().backward()
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])

    for plain, saved in zip(*gradients, strict=True):
        assert torch.equal(plain, saved)


def test_a_network_that_has_predicted_first_can_be_trained() -> None:
    """After a resume validation may come first; what it keeps of a size serves training as well."""
    window_kinds.cache_clear()
    network = SwinUNETR(feature_size=12).build(1, 3)
    image = torch.randn(1, 1, 64, 32, 32)
    with torch.inference_mode():
        network.eval()(image)

    network.train()(image).sum().backward()

    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())
