"""Errors of a device as one line that says what to do: out of memory before all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from volseg.errors import UserError
from volseg.formatting import format_bytes

if TYPE_CHECKING:
    import torch

OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|cudaErrorMemoryAllocation"
    r"|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED|unable to find an engine",
    re.IGNORECASE,
)
"""What CUDA, ROCm, Apple's MPS, cuDNN, cuBLAS and torch's allocator for CPUs say."""
BUSY = re.compile(r"device\(s\) is/are busy or unavailable", re.IGNORECASE)
NOTABLE = 0.05
"""Share of a GPU's memory from which it is told that it is held but unused, or held by others."""


class DeviceMemoryError(UserError):
    """A device has too little memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means too little memory, on a GPU or on the CPU; torch needs not be loaded."""
    if isinstance(error, MemoryError | DeviceMemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None


@contextmanager
def device_errors(device: "torch.device | None", advice: str) -> Iterator[None]:
    """Turn errors of a device that the user can mend into a UserError; `advice` is what takes less memory.

    No device is the CPU, for which torch needs not be loaded.

    Raises:
        DeviceMemoryError: out of memory.
        UserError: a GPU that another process has for itself.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            where = f"{device or 'cpu'}: out of memory{_describe_use(device)}"
            raise DeviceMemoryError(f"{where}; {advice}") from error
        if BUSY.search(str(error)):
            raise UserError(
                f"{device}: another process has it for itself; wait for its end, or name another by --device"
            ) from error
        raise


def _describe_use(device: "torch.device | None") -> str:
    """Who has how much of a GPU's memory; nothing of other devices, or where the GPU doesn't answer."""
    if device is None or device.type != "cuda":
        return ""
    import torch

    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:  # out of memory before there was a context
        return ""
    reserved, tensors = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
    others, unused = total - free - reserved, reserved - tensors
    use = (
        f" ({torch.cuda.get_device_name(device)}: {format_bytes(free)} of {format_bytes(total)} free, "
        f"{format_bytes(tensors)} in tensors of this process"
    )
    if unused > NOTABLE * total:
        use += (
            f", {format_bytes(unused)} held by it in pieces that are too small: "
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True in the environment may help"
        )
    if others > NOTABLE * total:
        use += f", {format_bytes(others)} used by other processes and the driver, which nvidia-smi lists"
    return f"{use})"
