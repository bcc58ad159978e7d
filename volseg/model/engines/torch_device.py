"""The torch device of a network, and the arithmetic of its convolutions."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from volseg.formatting import format_count
from volseg.model.distributed import process_group
from volseg.model.engines.interface import Precision
from volseg.system.hardware import has_bfloat16

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """A device and the type in which convolutions are computed on it."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def best_available(cls, precision: Precision) -> "Device":
        """This rank's GPU, else the CPU; "auto" is bf16 where the hardware has it, fp16 on old GPUs."""
        torch.set_num_threads(process_group.rank_cores())
        # Pages of 2 MB for large tensors, which each step allocates anew: the system must clear every page.
        # torch reads this at its first tensor.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        cuda = torch.cuda.is_available()
        device = process_group.rank_gpu() if cuda else torch.device("cpu")
        if precision == "auto":
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else has_bfloat16()
            precision = "bf16" if has_bf16 else "fp16" if cuda else "fp32"
        return cls(device, TYPES[precision])

    def __str__(self) -> str:
        """E.g. `cpu (2 threads), bfloat16`."""
        kind = str(self.dtype).removeprefix("torch.")
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)}, {kind}"
        return f"cpu ({format_count(torch.get_num_threads(), 'thread')}), {kind}"

    def place_network(self, network: nn.Module) -> nn.Module:
        """The network on this device, its weights laid out channels-last."""
        return network.to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]

    def send_batch(self, array: Tensor) -> Tensor:
        """A batch (B, C, X, Y, Z) on this device, laid out channels-last."""
        return array.to(self.device, memory_format=torch.channels_last_3d, non_blocking=True)

    def autocast(self) -> torch.autocast:
        """The context in which the network runs."""
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype if enabled else None, enabled=enabled)
