"""Convolutions of few voxels on a CPU, in float32 where oneDNN's gradients in bfloat16 are wrong."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (torch.conv2d, torch.conv3d, torch.conv_transpose2d, torch.conv_transpose3d)


class ExactSmallConvolutions(TorchFunctionMode):
    """Within it, convolutions of fewer voxels along an axis than their kernel has are computed in float32.

    On processors with AVX-512 BF16 but no AMX, oneDNN's gradient of the weights is then made of memory that
    nobody wrote, or the process is killed: by a kernel of 3 on 2 voxels along x, of 5 on 2 to 4, of 7, a
    stride of 2 along an axis of one voxel (torch 2.13). It takes next to no time, as few voxels are few
    products. torch.compile follows it, but not through SwinUNETR, for which MONAI computes by numpy.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What the function returns; of a small convolution whose gradient is wanted, in `dtype`."""
        kwargs = kwargs or {}
        if func not in CONVOLUTIONS or not torch.is_grad_enabled() or not _is_small(*args[:2]):
            return func(*args, **kwargs)
        image, weight, bias, *rest = (*args, None) if len(args) == 2 else args
        with torch.autocast("cpu", enabled=False):
            exact = None if bias is None else bias.float()
            made: Tensor = func(image.float(), weight.float(), exact, *rest, **kwargs)
        return made.to(self.dtype)


def _is_small(image: Tensor, weight: Tensor) -> bool:
    """Whether (B, C, X, Y, Z) has fewer voxels along an axis than the kernel; likewise in 2D."""
    return any(voxels < kernel for voxels, kernel in zip(image.shape[2:], weight.shape[2:], strict=True))
