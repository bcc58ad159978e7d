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
        if func not in CONVOLUTIONS or not torch.is_grad_enabled() or not _is_small(*args, **kwargs):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            made: Tensor = func(*map(_exact, args), **{name: _exact(value) for name, value in kwargs.items()})
        return made.to(self.dtype)


def _exact(value: Any) -> Any:
    """A tensor in float32, anything else as it is."""
    return value.float() if isinstance(value, Tensor) else value


def _is_small(input: Tensor, weight: Tensor, *_rest: Any, **_named: Any) -> bool:  # noqa: A002  torch's name
    """Whether an image has fewer voxels along an axis, X, Y or Z, than the kernel."""
    kernel = weight.shape[2:]
    return any(voxels < taps for voxels, taps in zip(input.shape[-len(kernel) :], kernel, strict=True))
