import pytest
import torch
from torch import nn
from torch.nn.functional import conv3d, conv_transpose3d, group_norm, relu

from volseg.planning.forecast_recorder import OperationRecorder, recorded, tensor_bytes

DEVICES = ("cpu", "meta")


@pytest.mark.parametrize("device", DEVICES)
def test_bytes_are_those_that_live_counted_by_hand(device: str) -> None:
    """A convolution keeps its input, relu its result; the convolution's own result is gone after relu."""
    weight = torch.zeros(4, 1, 3, 3, 3, device=device, requires_grad=True)
    with OperationRecorder() as recorder:
        image = torch.zeros(1, 1, 8, 8, 8, device=device)
        kept = relu(conv3d(image, weight, padding=1))
        forward = recorder.live, recorder.peak
        view = kept[:, :2]
        del image, kept
        while_viewed = recorder.live
        del view

    assert forward == (4 * 512 * (1 + 4), 4 * 512 * (1 + 4 + 4))
    assert while_viewed == forward[0]
    assert recorder.live == 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_takes_its_weights_times_its_voxels_each_way(device: str, groups: int) -> None:
    image = torch.zeros(2, 4, 6, 6, 6, device=device, requires_grad=True)
    weight = torch.zeros(8, 4 // groups, 3, 3, 3, device=device, requires_grad=True)
    with OperationRecorder() as recorder:
        conv3d(image, weight, stride=2, padding=1, groups=groups).sum().backward()

    convolutions = [one for one in recorder.operations if one.groups]
    once = 2 * 8 * (4 // groups) * 27 * 2 * 3**3
    assert [one.flops for one in convolutions] == [once, 2 * once]
    assert {one.groups for one in convolutions} == {groups}
    assert convolutions[0].moved == 4 * (image.numel() + weight.numel() + 2 * 8 * 3**3)


def test_a_transposed_convolution_takes_its_weights_times_its_inputs_voxels() -> None:
    image = torch.zeros(1, 4, 3, 3, 3, device="meta")
    weight = torch.zeros(4, 2, 2, 2, 2, device="meta")
    with OperationRecorder() as recorder:
        conv_transpose3d(image, weight, stride=2)

    assert sum(one.flops for one in recorder.operations) == 2 * 4 * 2 * 8 * 3**3


def test_a_product_of_matrices_takes_two_operations_a_term_and_a_view_moves_nothing() -> None:
    with OperationRecorder() as recorder:
        left = torch.zeros(3, 5, device="meta").view(5, 3).T
        left @ torch.zeros(5, 7, device="meta")

    assert [one.flops for one in recorder.operations if one.flops] == [2 * 3 * 5 * 7]
    assert recorder.operations[-1].moved == 4 * (15 + 35 + 21)
    assert len(recorder.operations) == 3


def test_casts_are_those_of_a_gpus_autocast_also_in_the_backward_pass() -> None:
    image = torch.zeros(1, 4, 4, 4, 4, device="meta")
    weight = torch.zeros(4, 4, 1, 1, 1, device="meta", requires_grad=True)

    def block(given: torch.Tensor) -> torch.Tensor:
        return group_norm(conv3d(given, weight), 2)

    with recorded(torch.bfloat16):
        convolved = conv3d(image, weight)
        normed = group_norm(convolved, 2)
        again = torch.utils.checkpoint.checkpoint(block, image, use_reentrant=False)
        torch.autograd.backward(again.sum())
    with recorded(torch.float32):
        plain = conv3d(image, weight)

    assert (convolved.dtype, normed.dtype, plain.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert weight.grad is not None


def test_bytes_of_a_network_are_those_of_weights_and_buffers() -> None:
    norm = nn.BatchNorm3d(8)  # weight, bias, mean and variance, and a counter of 64 bits

    assert tensor_bytes(norm) == 4 * 4 * 8 + 8
