"""Instance norm of channels-last data on a CPU, without copies and with the right gradient."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LAST = torch.channels_last_3d


class ChannelsLastInstanceNorm(nn.InstanceNorm3d):
    """torch's InstanceNorm3d with the same weights, whose input and output on a CPU are channels-last.

    torch's copies such data to channels-first, and the next convolution copies them back. Worse, with
    one item in the batch torch 2.13 reads a channels-last gradient as if it were channels-first.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Each channel of each item of (B, C, X, Y, Z) at mean 0 and deviation 1, then scale and bias."""
        if x.device.type != "cpu" or x[0, 0].numel() == 1:  # torch's refuses one voxel
            return super().forward(x)
        normal: Tensor = _Normalize.apply(x, self.eps)  # type: ignore[no-untyped-call]
        if self.weight is None:
            return normal
        weight, bias = (values.to(x.dtype).view(-1, 1, 1, 1) for values in (self.weight, self.bias))
        return normal * weight + bias


def use_channels_last_norms(network: nn.Module) -> nn.Module:
    """A network with its instance norms replaced by channels-last ones; names and weights stay.

    A group norm with a group for each channel is an instance norm.
    """
    for module in list(network.modules()):
        if type(module) is nn.InstanceNorm3d and not module.track_running_stats:
            module.__class__ = ChannelsLastInstanceNorm
        for name, part in module.named_children():
            if type(part) is nn.GroupNorm and part.num_groups == part.num_channels:
                setattr(module, name, _as_instance_norm(part))
    return network


def _as_instance_norm(norm: nn.GroupNorm) -> ChannelsLastInstanceNorm:
    instance = ChannelsLastInstanceNorm(norm.num_channels, norm.eps, affine=norm.affine)
    instance.weight, instance.bias = norm.weight, norm.bias
    return instance


class _Normalize(torch.autograd.Function):
    """Batch norm of one item at a time, for which torch has channels-last kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        x = x.contiguous(memory_format=LAST)
        # Weights in float32 make torch keep the statistics in float32, whatever the data are.
        kind = torch.promote_types(x.dtype, torch.float32)
        ones, zeros = x.new_ones(x.shape[1], dtype=kind), x.new_zeros(x.shape[1], dtype=kind)
        items = [
            torch.native_batch_norm(item, ones, zeros, None, None, True, 0.0, eps)
            for item in torch.split(x, 1)
        ]
        ctx.save_for_backward(x, ones, *(part for item in items for part in item[1:]))
        ctx.eps = eps
        return _concat_items([item[0] for item in items])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, ones, *statistics = ctx.saved_tensors
        rows = zip(
            torch.split(gradient.contiguous(memory_format=LAST), 1),
            torch.split(x, 1),
            statistics[::2],
            statistics[1::2],
            strict=True,
        )
        items = [
            torch.ops.aten.native_batch_norm_backward(
                up, item, ones, None, None, mean, inverse, True, ctx.eps, [True, False, False]
            )[0]
            for up, item, mean, inverse in rows
        ]
        return _concat_items(items), None


def _concat_items(items: list[Tensor]) -> Tensor:
    return items[0] if len(items) == 1 else torch.cat(items)
