import pytest
import torch

from tests.model.engines import fake_gpu
from volseg.errors import UserError
from volseg.model.engines.device_errors import device_errors, is_out_of_memory

GB = 10**9
CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("Unable to find an engine to execute this computation"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8000000000000 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.98 GB, max allowed: 9.07 GB)."),
    MemoryError("Unable to allocate 3.4 GiB for an array"),
]
OTHERS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ValueError("out of memory"),
    UserError("scan: out of memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_too_little_memory_is_recognised_in_all_its_words(error) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_are_not_taken_for_it(error) -> None:
    assert not is_out_of_memory(error)


def test_it_is_recognised_again_once_it_is_told() -> None:
    """`volseg plan` then tries a smaller design."""
    with pytest.raises(UserError) as raised, device_errors(CPU, "take less"):
        raise OUT_OF_MEMORY[0]

    assert is_out_of_memory(raised.value)


def test_what_torch_itself_raises_on_the_cpu_is_recognised() -> None:
    with pytest.raises(UserError, match=r"^cpu: out of memory; take less$"), device_errors(CPU, "take less"):
        torch.empty(1 << 55, dtype=torch.uint8)


def fill(monkeypatch, *, free: float, total: float, reserved: float, tensors: float) -> None:
    fake_gpu.install(monkeypatch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _gpu: (int(free * GB), int(total * GB)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _gpu: int(reserved * GB))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _gpu: int(tensors * GB))


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_out_of_memory_is_one_line_with_who_has_it_and_the_way_out(monkeypatch, error) -> None:
    fill(monkeypatch, free=0.25, total=16, reserved=15.5, tensors=15.25)

    with pytest.raises(UserError) as raised, device_errors(GPU, "train.accumulate=2"):
        raise error

    assert str(raised.value) == (
        "cuda:0: out of memory (Tesla T4: 250 MB of 16.0 GB free, 15.2 GB in tensors of this process); "
        "train.accumulate=2"
    )


def test_other_processes_and_memory_in_pieces_are_named_where_they_matter(monkeypatch) -> None:
    fill(monkeypatch, free=1, total=16, reserved=5, tensors=3)

    with pytest.raises(UserError) as raised, device_errors(GPU, "wait"):
        raise torch.OutOfMemoryError

    text = str(raised.value)
    assert (
        "2.0 GB held by it in pieces that are too small: PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
        in text
    )
    assert "10.0 GB used by other processes and the driver, which nvidia-smi lists" in text


def test_a_gpu_that_no_longer_answers_does_not_hide_the_reason(monkeypatch) -> None:
    def fail(_gpu):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)

    with pytest.raises(UserError, match=r"^cuda:0: out of memory; wait$"), device_errors(GPU, "wait"):
        fail(GPU)


def test_a_gpu_of_another_process_is_told() -> None:
    told = "^cuda:0: another process has it for itself; wait for its end, or name another by --device$"

    with pytest.raises(UserError, match=told), device_errors(GPU, "wait"):
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable")


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_errors_that_are_something_else_stay_as_they_are(error) -> None:
    with pytest.raises(type(error)) as raised, device_errors(GPU, "wait"):
        raise error

    assert raised.value is error
