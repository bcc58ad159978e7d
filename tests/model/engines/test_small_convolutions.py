"""In bfloat16 on a CPU, convolutions of few voxels have the gradients of float32."""

import pytest
import torch
from torch.nn import functional

from volseg.model.engines.torch_device import Device

CPU = Device(torch.device("cpu"), torch.bfloat16)
SIZES = [((2, 2, 2), 3), ((2, 6, 5), 3), ((1, 6, 6), 3), ((4, 6, 6), 5), ((6, 7, 2), 3)]


def leave_rubbish(value: float) -> None:
    """Memory is handed out again as it was left."""
    left = [torch.full((2**power,), value) for power in range(4, 18) for _ in range(12)]
    del left


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("size", "kernel"), SIZES)
@pytest.mark.parametrize("rubbish", [float("nan"), 1e30])
def test_gradients_are_those_of_float32_whatever_memory_held(size, kernel, rubbish, transposed) -> None:
    torch.manual_seed(0)
    name = "conv_transpose3d" if transposed else "conv3d"
    image, weight, bias = torch.randn(2, 16, *size), torch.randn(16, 16, *[kernel] * 3) / 20, torch.randn(16)
    found = []
    for exact in (True, False):
        given = [tensor.clone().requires_grad_() for tensor in (image, weight, bias)]
        leave_rubbish(rubbish)
        if exact:
            made = getattr(functional, name)(*given, padding=kernel // 2)
        else:
            with CPU.autocast():
                made = getattr(functional, name)(*given, padding=kernel // 2)
            assert made.dtype == torch.bfloat16
        direction = torch.linspace(-1, 1, made.numel()).reshape(made.shape)
        leave_rubbish(rubbish)
        made.backward(direction.to(made.dtype))
        found.append([made.detach().float(), *(tensor.grad for tensor in given)])

    for right, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, right, rtol=0, atol=0.02 * float(right.abs().max()))


@pytest.mark.parametrize(
    ("size", "grad", "exact"),
    [((2, 6, 6), True, True), ((2, 6, 6), False, False), ((3, 6, 6), True, False), ((6, 6, 2), True, True)],
)
def test_only_small_ones_whose_gradient_is_wanted_are_computed_in_float32(size, grad, exact) -> None:
    """In bfloat16 a weight of 1 + 1/1024 is 1, so that 1024 times it less 1024 is 0 and not 1."""
    image, weight = torch.zeros(1, 1, *size), torch.zeros(1, 1, 3, 3, 3)
    image[..., 0, 2, 0], image[..., 0, 1, 0] = 1024.0, -1024.0
    weight[..., 1, 1, 1], weight[..., 1, 0, 1] = 1 + 2**-10, 1.0
    with CPU.autocast(), torch.set_grad_enabled(grad):
        made = functional.conv3d(image, weight.requires_grad_(), padding=1)

    assert made.dtype == torch.bfloat16
    assert made.requires_grad == grad
    assert made[..., 0, 2, 0].item() == (1 if exact else 0)


def test_tensors_may_be_given_by_name_and_without_a_batch() -> None:
    image, weight = torch.randn(1, 2, 6, 6), torch.randn(1, 1, 3, 3, 3, requires_grad=True)
    with CPU.autocast():
        named = functional.conv3d(input=image, weight=weight, bias=None, padding=1)

    right = functional.conv3d(image[None], weight, padding=1)[0].bfloat16()
    assert torch.equal(named, right)
