import logging
import multiprocessing

import pytest
import torch

from tests.model.engines import fake_gpu
from volseg.errors import UserError
from volseg.model.engines import device_selection
from volseg.model.engines.device_selection import (
    find_device,
    free_gpu_memory,
    usable_device,
    warn_of_unused_gpu,
)


@pytest.fixture(autouse=True)
def _warned_of_nothing():
    warn_of_unused_gpu.cache_clear()
    yield
    warn_of_unused_gpu.cache_clear()


@pytest.fixture
def ranks(monkeypatch):
    """This process is rank 1 of two on this machine."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)


def builds(monkeypatch, *, cuda: str | None, gpu: bool) -> None:
    """This torch is built for a version of CUDA (None: for CPUs) but has no GPU; the machine may have one."""
    monkeypatch.setattr(torch, "__version__", "2.9.0+test")
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device_selection, "has_gpu", lambda: gpu)


@pytest.mark.parametrize(("name", "expected"), [(None, "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"),
                                                ("cpu", "cpu")])  # fmt: skip
def test_a_name_finds_its_device(monkeypatch, name, expected) -> None:
    fake_gpu.install(monkeypatch, count=2)

    assert str(find_device(name)) == expected


def test_without_a_gpu_the_default_is_the_cpu() -> None:
    assert find_device(None) == torch.device("cpu")


@pytest.mark.parametrize("name", [None, "cuda"])
@pytest.mark.usefixtures("ranks")
def test_each_rank_has_a_gpu_of_its_own(monkeypatch, name) -> None:
    fake_gpu.install(monkeypatch, count=2)

    assert str(find_device(name)) == "cuda:1"


@pytest.mark.parametrize("name", ["cuda:1", "mps"])
@pytest.mark.usefixtures("ranks")
def test_ranks_do_not_share_one_named_device(monkeypatch, name) -> None:
    fake_gpu.install(monkeypatch, count=2)

    with pytest.raises(UserError, match=f"^--device {name}: one device for 2 ranks; pass --device cuda, by"):
        find_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cuda1", "cpu:0", ""])
def test_what_is_no_device_is_refused(name) -> None:
    with pytest.raises(UserError, match=r"^--device: '.*' is no device; expected cpu, cuda, cuda:1 \(the"):
        find_device(name)


@pytest.mark.parametrize(
    ("count", "name", "message"),
    [
        (1, "cuda:1", "--device cuda:1: this machine has 1 GPU (cuda:0); name it, or leave --device out"),
        (2, "cuda:2", "--device cuda:2: this machine has 2 GPUs (cuda:0 to cuda:1); name one of them, or "
                      "leave --device out"),
    ],
)  # fmt: skip
def test_a_gpu_that_is_not_there_is_told_with_those_that_are(monkeypatch, count, name, message) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_gpu.install(monkeypatch, count=count)

    with pytest.raises(UserError) as raised:
        find_device(name)

    assert str(raised.value) == message


def test_hidden_gpus_are_told_of(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    fake_gpu.install(monkeypatch)

    with pytest.raises(UserError, match=r"1 GPU \(cuda:0\), of which CUDA_VISIBLE_DEVICES=3 shows these;"):
        find_device("cuda:3")


@pytest.mark.parametrize(
    ("cuda", "gpu", "message"),
    [
        (None, True, "torch 2.9.0+test is a build for CPUs; install one for GPUs (pytorch.org tells"),
        (None, False, "torch 2.9.0+test is a build for CPUs; install one for GPUs (pytorch.org tells"),
        ("12.8", False, "torch 2.9.0+test finds no GPU on this machine; or pass --device cpu"),
        ("12.8", True, "torch 2.9.0+test can't use it, mostly as its driver is older than CUDA 12.8 needs; "),
    ],
)
def test_a_gpu_that_torch_does_not_have_is_refused_with_the_reason(monkeypatch, cuda, gpu, message) -> None:
    builds(monkeypatch, cuda=cuda, gpu=gpu)

    with pytest.raises(UserError) as raised:
        find_device("cuda")

    assert str(raised.value).startswith(f"--device cuda: {message}")
    assert "\n" not in str(raised.value)


def test_mps_is_refused_where_there_is_none() -> None:
    with pytest.raises(UserError, match=r"^--device mps: there is none"):
        find_device("mps")


@pytest.mark.parametrize(
    ("cuda", "told"),
    [
        (None, "there seems to be a GPU, but the work is done on the CPU: torch 2.9.0+test is a build for"),
        ("12.8", "there seems to be a GPU, but the work is done on the CPU: torch 2.9.0+test can't use it,"),
    ],
)
def test_a_gpu_that_torch_can_not_use_is_told_once(monkeypatch, caplog, cuda, told) -> None:
    builds(monkeypatch, cuda=cuda, gpu=True)

    warn_of_unused_gpu(None)
    warn_of_unused_gpu(None)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(told)


@pytest.mark.parametrize(("name", "gpu", "works"), [("cpu", True, False), (None, False, False),
                                                    (None, True, True)])  # fmt: skip
def test_no_warning_where_a_device_is_named_or_no_gpu_is_idle(monkeypatch, caplog, name, gpu, works) -> None:
    builds(monkeypatch, cuda="12.8", gpu=gpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: works)

    warn_of_unused_gpu(name)

    assert not caplog.records


CU130 = ["sm_75", "sm_80", "sm_90a", "sm_100f", "compute_120"]


@pytest.mark.parametrize(
    ("capability", "built", "works"),
    [
        ((7, 5), CU130, True),
        ((8, 0), CU130, True),
        ((8, 6), CU130, True),  # machine code runs on later minor versions
        ((8, 6), ["sm_89"], False),  # but not on earlier ones
        ((9, 0), CU130, True),
        ((9, 1), CU130, False),  # sm_90a is for one model
        ((10, 3), CU130, True),
        ((12, 0), CU130, True),
        ((12, 1), CU130, True),  # PTX is compiled for whatever comes later
        ((13, 0), CU130, True),
        ((11, 0), CU130, False),
        ((7, 0), CU130, False),
        ((6, 0), CU130, False),
        ((6, 0), ["gfx90a"], False),
        ((6, 0), [], True),  # a build that doesn't say
    ],
)
def test_kernels_run_where_cuda_says_they_do(monkeypatch, capability, built, works) -> None:
    fake_gpu.install(monkeypatch, capability=capability, built=built)

    if works:
        assert usable_device("cuda:0") == torch.device("cuda:0")
    else:
        with pytest.raises(UserError, match="no kernels for its compute capability"):
            usable_device("cuda:0")


@pytest.mark.parametrize("name", [None, "cuda"])
def test_a_gpu_without_kernels_is_refused_with_its_name_and_the_way_out(monkeypatch, name) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.0+cu128")
    fake_gpu.install(
        monkeypatch, capability=(6, 0), built=["sm_75", "sm_90", "compute_90"], name="Tesla P100-PCIE-16GB"
    )

    with pytest.raises(UserError) as raised:
        usable_device(name)

    assert str(raised.value) == (
        "cuda:0 (Tesla P100-PCIE-16GB): torch 2.9.0+cu128 has no kernels for its compute capability 6.0, "
        "only for 7.5, 9.0; install a build for older GPUs, such as `pip install torch --index-url "
        "https://download.pytorch.org/whl/cu126`, or pass --device cpu"
    )


def test_a_gpu_newer_than_the_build_needs_a_newer_torch(monkeypatch) -> None:
    fake_gpu.install(monkeypatch, capability=(10, 0), built=["sm_80", "sm_90"])

    with pytest.raises(UserError, match=r"only for 8\.0, 9\.0; install a newer torch, or pass --device cpu"):
        usable_device(None)


def test_the_cpu_is_usable_beside_a_gpu_without_kernels(monkeypatch) -> None:
    fake_gpu.install(monkeypatch, capability=(6, 0), built=["sm_90"])

    assert usable_device("cpu") == torch.device("cpu")


def test_free_memory_is_that_of_the_gpu(monkeypatch) -> None:
    fake_gpu.install(monkeypatch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: {torch.device("cuda:0"): (7, 16)}[gpu])

    assert free_gpu_memory(torch.device("cuda:0")) == 7


def test_a_device_crosses_processes() -> None:
    """`free_gpu_memory` is asked in another process."""
    gpu = torch.device("cuda:1")

    assert (
        multiprocessing.reduction.ForkingPickler.loads(multiprocessing.reduction.ForkingPickler.dumps(gpu))
        == gpu
    )
