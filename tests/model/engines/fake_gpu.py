"""Stand-ins for GPUs, so that what is said about them is tested where there is none."""

import pytest
import torch

CU128 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


def install(
    patch: pytest.MonkeyPatch, *, count: int = 1, capability=(7, 5), built=CU128, name: str = "Tesla T4"
) -> list[torch.device]:
    """Let torch have so many GPUs of a kind; return the list to which those made current are added."""
    current: list[torch.device] = []
    patch.setattr(torch.cuda, "is_available", lambda: count > 0)
    patch.setattr(torch.cuda, "device_count", lambda: count)
    patch.setattr(torch.cuda, "get_arch_list", lambda: built)
    patch.setattr(torch.cuda, "get_device_capability", lambda _gpu: capability)
    patch.setattr(torch.cuda, "get_device_name", lambda _gpu: name)
    patch.setattr(torch.cuda, "set_device", current.append)
    patch.setattr(torch.cuda, "is_bf16_supported", lambda **_: capability >= (8, 0))
    return current
