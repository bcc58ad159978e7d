"""The torch device of a network, and the arithmetic of its convolutions."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from volseg.formatting import format_count
from volseg.model.distributed import process_group
from volseg.model.engines.device_selection import usable_device
from volseg.model.engines.interface import Precision
from volseg.model.engines.small_convolutions import ExactSmallConvolutions
from volseg.system.hardware import has_bfloat16

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
COPYING_NORMS = (nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)  # noqa: SLF001
"""Norms whose kernels for GPUs copy channels-last data to contiguous ones and back."""


@dataclass(frozen=True)
class Device:
    """A device, the type in which convolutions are computed on it, and how tensors lie in its memory."""

    device: torch.device
    dtype: torch.dtype
    layout: torch.memory_format = torch.channels_last_3d

    @classmethod
    def choose(cls, precision: Precision, name: str | None = None) -> "Device":
        """The device of a name, by default this rank's GPU, else the CPU; a GPU becomes torch's current one.

        "auto" is bf16 where the hardware has it, fp16 on old GPUs, else fp32.

        Raises:
            UserError: no such device here, or a GPU that this build of torch has no kernels for.
        """
        torch.set_num_threads(process_group.rank_cores())
        # Pages of 2 MB for large tensors, which each step allocates anew: the system must clear every page.
        # torch reads this at its first tensor.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        device = usable_device(name)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        return cls(device, TYPES[_auto_precision(device.type) if precision == "auto" else precision])

    def __str__(self) -> str:
        """E.g. `cpu (2 threads), bfloat16`."""
        kind = str(self.dtype).removeprefix("torch.")
        if self.is_cuda:
            return f"{torch.cuda.get_device_name(self.device)} ({self.device}), {kind}"
        if self.device.type != "cpu":
            return f"{self.device}, {kind}"
        return f"cpu ({format_count(torch.get_num_threads(), 'thread')}), {kind}"

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU by CUDA or ROCm."""
        return self.device.type == "cuda"

    def suited_to(self, network: nn.Module) -> "Device":
        """This device with the layout in which it computes a network the fastest."""
        return replace(self, layout=fastest_layout(self.device.type, network))

    def place_network(self, network: nn.Module) -> nn.Module:
        """The network on this device, its weights in this device's layout."""
        flat = torch.channels_last if self.layout == torch.channels_last_3d else self.layout
        layouts = {5: self.layout, 4: flat}  # of the weights of convolutions, in 3D and in 2D

        def place(tensor: Tensor) -> Tensor:
            return tensor.to(self.device, memory_format=layouts.get(tensor.ndim, torch.preserve_format))

        placed: nn.Module = network._apply(place)  # type: ignore[no-untyped-call]  # noqa: SLF001
        return placed

    def send_batch(self, array: Tensor) -> Tensor:
        """A batch (B, C, X, Y, Z) on this device, in its layout."""
        return array.to(self.device, memory_format=self.layout, non_blocking=True)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The context in which the network runs."""
        enabled = self.dtype != torch.float32
        exact = ExactSmallConvolutions(self.dtype) if enabled and self.device.type == "cpu" else nullcontext()
        with torch.autocast(self.device.type, dtype=self.dtype if enabled else None, enabled=enabled), exact:
            yield


def fastest_layout(kind: str, network: nn.Module) -> torch.memory_format:
    """The memory layout for a network on a kind of device (`cpu`, `cuda`, `mps`).

    Channels-last on a CPU, and on CUDA where all norms keep it; contiguous elsewhere.
    """
    keeps = kind == "cuda" and not any(isinstance(module, COPYING_NORMS) for module in network.modules())
    return torch.channels_last_3d if kind == "cpu" or keeps else torch.contiguous_format


def _auto_precision(kind: str) -> Literal["fp32", "bf16", "fp16"]:
    """The fastest precision in which a kind of device computes convolutions in hardware."""
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if kind == "cpu" and has_bfloat16() else "fp32"
