import pytest
import torch
from torch import nn

from tests.model.engines import fake_gpu
from tests.model.networks.test_networks import SMALL
from volseg.errors import UserError
from volseg.model.engines.device_errors import device_errors
from volseg.model.engines.torch_device import Device, fastest_layout

LAST, CONTIGUOUS = torch.channels_last_3d, torch.contiguous_format


@pytest.mark.parametrize(
    ("kind", "by_batch_norm", "by_others"),
    [("cpu", LAST, LAST), ("cuda", LAST, CONTIGUOUS), ("mps", CONTIGUOUS, CONTIGUOUS)],
)
def test_only_norms_that_keep_it_are_given_channels_last_on_a_gpu(kind, by_batch_norm, by_others) -> None:
    batch_norm = SMALL["unet"].model_copy(update={"norm": "batch"})

    others = {name: fastest_layout(kind, made.build(1, 3)) for name, made in SMALL.items()}

    assert fastest_layout(kind, batch_norm.build(1, 3)) == others.pop("unet25d") == by_batch_norm
    assert set(others.values()) == {by_others}


@pytest.mark.parametrize("layout", [LAST, CONTIGUOUS])
def test_weights_and_batches_lie_in_the_devices_layout(layout) -> None:
    device = Device(torch.device("cpu"), torch.float32, layout)

    network = device.place_network(nn.Conv3d(2, 3, 3))
    batch = device.send_batch(torch.rand(2, 2, 4, 4, 4))

    assert network.weight.is_contiguous(memory_format=layout)
    assert batch.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("layout", "flat"), [(LAST, torch.channels_last), (CONTIGUOUS, CONTIGUOUS)])
def test_weights_of_slices_lie_in_the_flat_layout(layout, flat) -> None:
    network = Device(torch.device("cpu"), torch.float32, layout).place_network(nn.Conv2d(2, 3, 3))

    assert network.weight.is_contiguous(memory_format=flat)


def test_the_layout_follows_the_network() -> None:
    gpu = Device(torch.device("cuda:0"), torch.float16)

    assert gpu.suited_to(nn.BatchNorm3d(2)).layout == LAST
    assert gpu.suited_to(nn.Sequential(nn.BatchNorm3d(2), nn.GroupNorm(1, 2))).layout == CONTIGUOUS
    assert gpu.suited_to(nn.GroupNorm(1, 2)).dtype == torch.float16


def test_a_named_gpu_is_chosen_and_made_current(monkeypatch) -> None:
    current = fake_gpu.install(monkeypatch, count=2)

    device = Device.choose("auto", "cuda:1")

    assert device.is_cuda
    assert str(device) == "Tesla T4 (cuda:1), float16"  # 7.5 has no bfloat16
    assert current == [torch.device("cuda:1")]


def test_the_cpu_is_chosen_beside_a_gpu(monkeypatch) -> None:
    current = fake_gpu.install(monkeypatch)

    device = Device.choose("fp32", "cpu")

    assert (device.device.type, device.is_cuda, current) == ("cpu", False, [])
    assert str(device).startswith("cpu (")


@pytest.mark.parametrize(
    ("capability", "precision", "dtype"),
    [((8, 0), "auto", torch.bfloat16), ((7, 5), "auto", torch.float16), ((7, 5), "fp32", torch.float32)],
)
def test_the_precision_suits_the_gpu(monkeypatch, capability, precision, dtype) -> None:
    fake_gpu.install(monkeypatch, capability=capability, built=["sm_75", "sm_80"])

    assert Device.choose(precision).dtype == dtype


def test_apples_gpu_computes_in_fp32_unless_told_else(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    assert Device.choose("auto", "mps").dtype == torch.float32
    assert str(Device.choose("fp16", "mps")) == "mps, float16"


def test_a_gpu_without_kernels_is_no_choice(monkeypatch) -> None:
    current = fake_gpu.install(monkeypatch, capability=(6, 0))

    with pytest.raises(UserError, match="no kernels"):
        Device.choose("auto")

    assert not current


@pytest.mark.gpu
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_gpu_computes_what_the_cpu_does(gpu, norm) -> None:
    network = SMALL["unet"].model_copy(update={"norm": norm}).build(1, 3).eval()
    image = torch.rand(1, 1, 16, 16, 16)
    expected = network(image)
    device = Device.choose("fp32", gpu).suited_to(network)

    logits = device.place_network(network)(device.send_batch(image))

    assert logits.device.type == device.device.type
    assert torch.allclose(logits.cpu(), expected, atol=1e-2)


@pytest.mark.gpu
def test_a_gpu_without_room_says_who_has_it(gpu) -> None:
    device = Device.choose("fp32", gpu).device
    told = r"^cuda:0: out of memory \(.* of .* free, 0 MB in tensors of this process.*\); wait$"

    with pytest.raises(UserError, match=told), device_errors(device, "wait"):
        torch.empty(1 << 50, dtype=torch.uint8, device=device)
