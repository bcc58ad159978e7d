"""Convolutions of a fine grid computed on a coarse grid, whose channels are the voxels of a block."""

from collections.abc import Sequence
from math import prod
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from volseg.model.networks.strides import Stride

ONE = (1, 1, 1)


def block_taps(offsets: Sequence[int], size: int, inputs: int, outputs: int) -> tuple[Tensor, int]:
    """The taps of a kernel between blocks, along one axis.

    Tap j of the fine kernel reads the voxel `offsets[j]` past the output voxel. Of the `size` voxels of a
    block the first `inputs` hold data and the first `outputs` are computed: all of them in a convolution
    of stride 1; in a transposed one only the first holds data.

    Returns:
        (outputs, inputs, D, J), 1 where output voxel r reads voxel q of the d-th block by tap j; and the
        offset in blocks of the 0th of these D from the output's block.
    """
    taps = [
        (r, q, (r + offset - q) // size, j)
        for r in range(outputs)
        for q in range(inputs)
        for j, offset in enumerate(offsets)
        if (r + offset - q) % size == 0
    ]
    blocks = [d for _, _, d, _ in taps] or [0]  # a kernel shorter than its stride may reach no voxel
    table = torch.zeros(outputs, inputs, max(blocks) - min(blocks) + 1, len(offsets))
    for r, q, d, j in taps:
        table[r, q, d - min(blocks), j] = 1
    return table, min(blocks)


class BlockConv(nn.Module):
    """A convolution between the blocks of two grids: (B, I * p, X, Y, Z) to (B, O * q, X, Y, Z)."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, axes: Sequence[tuple[Tensor, int]], *, more: Stride
    ) -> None:
        """From a fine kernel (O, I, kx, ky, kz), the taps of each axis, and `more` blocks past the end."""
        super().__init__()
        taps, first = zip(*axes, strict=True)
        blocks = torch.einsum(
            "oixyz,aAdx,bBey,cCfz->oabciABCdef", weight.detach(), *(table.to(weight) for table in taps)
        )
        outputs, inputs = blocks.shape[1:4], blocks.shape[5:8]
        kernel = (blocks.shape[8], blocks.shape[9], blocks.shape[10])
        self.conv = nn.Conv3d(
            weight.shape[1] * prod(inputs), weight.shape[0] * prod(outputs), kernel, bias=bias is not None
        )
        self.conv.weight = nn.Parameter(blocks.reshape(self.conv.weight.shape), requires_grad=False)
        if bias is not None:
            bias = bias.detach().repeat_interleave(prod(outputs))
            self.conv.bias = nn.Parameter(bias, requires_grad=False)
        before = [-d for d in first]
        after = [n - 1 + d + extra for n, d, extra in zip(kernel, first, more, strict=True)]
        if before == after:
            self.conv.padding = tuple(before)
        self.pad = [] if before == after else _innermost_first(before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Blocks (B, O * q, X', Y', Z') from blocks (B, I * p, X, Y, Z)."""
        blocks: Tensor = self.conv(F.pad(x, self.pad) if self.pad else x)
        return blocks


def same_size_block_conv(conv: nn.Conv3d, size: Stride) -> BlockConv:
    """A convolution of stride 1, odd kernel and full padding, between blocks of this size."""
    kernels = zip(conv.kernel_size, size, strict=True)
    axes = [block_taps([j - k // 2 for j in range(k)], n, n, n) for k, n in kernels]
    return BlockConv(conv.weight, conv.bias, axes, more=(0, 0, 0))


def transposed_block_conv(conv: nn.ConvTranspose3d) -> BlockConv:
    """A transposed convolution, as blocks of its stride."""
    shape = zip(conv.kernel_size, conv.stride, [int(p) for p in conv.padding], strict=True)
    axes = [block_taps([p - j for j in range(k)], s, 1, s) for k, s, p in shape]
    x, y, z = (max(0, -(-n // s)) for n, s in zip(_extra_voxels(conv), conv.stride, strict=True))
    return BlockConv(conv.weight.transpose(0, 1), conv.bias, axes, more=(x, y, z))


class BlockConvTranspose(nn.Module):
    """A transposed convolution, computed as blocks of its stride that are then rearranged into voxels.

    The channels of a voxel stay together, so that channels-last data, as OpenVINO has, move in one step.
    """

    def __init__(self, conv: nn.ConvTranspose3d) -> None:
        super().__init__()
        self.blocks, self.stride, self.extra = (transposed_block_conv(conv), conv.stride, _extra_voxels(conv))
        for values in self.blocks.parameters():
            rows = values.reshape(conv.out_channels, -1, *values.shape[1:])
            values.data = rows.transpose(0, 1).reshape(values.shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, O, X', Y', Z') as torch's gives it for (B, I, X, Y, Z)."""
        out = _depth_to_space_last(self.blocks(x), self.stride)
        if not any(self.extra):
            return out
        a, b, c = (n * s + extra for n, s, extra in zip(x.shape[2:], self.stride, self.extra, strict=True))
        return out[:, :, :a, :b, :c]


def depth_to_space(blocks: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C * sx * sy * sz, X, Y, Z) as (B, C, X * sx, Y * sy, Z * sz)."""
    batch, channels, x, y, z = blocks.shape
    if tuple(size) == ONE:
        return blocks
    a, b, c = size
    voxels = blocks.reshape(batch, channels // (a * b * c), a, b, c, x, y, z)
    voxels = voxels.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return voxels.reshape(batch, channels // (a * b * c), x * a, y * b, z * c)


def _depth_to_space_last(blocks: Tensor, size: Sequence[int]) -> Tensor:
    """As `depth_to_space`, but of (B, sx * sy * sz * C, X, Y, Z)."""
    if tuple(size) == ONE:
        return blocks
    a, b, c = size
    batch, channels, x, y, z = blocks.shape
    rows = channels // (a * b)
    voxels = blocks.permute(0, 2, 3, 4, 1).reshape(batch, x, y, z, a, b, rows)
    voxels = voxels.permute(0, 1, 4, 2, 5, 3, 6)
    voxels = voxels.reshape(batch, x * a, y * b, z * c, rows // c)
    return voxels.permute(0, 4, 1, 2, 3)


def is_block_convertible(conv: nn.Module) -> TypeGuard[nn.ConvTranspose3d]:
    """Whether a module is a transposed convolution that blocks can compute."""
    return (
        type(conv) is nn.ConvTranspose3d
        and conv.groups == 1
        and conv.dilation == ONE
        and conv.padding_mode == "zeros"
    )


def _extra_voxels(conv: nn.ConvTranspose3d) -> list[int]:
    """The voxels of the output beyond stride times input, along each axis."""
    padding = [int(p) for p in conv.padding]
    rows = zip(conv.kernel_size, conv.stride, padding, conv.output_padding, strict=True)
    return [k - s - 2 * p + int(more) for k, s, p, more in rows]


def _innermost_first(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Padding in the order of torch.nn.functional.pad."""
    return [n for pair in reversed(list(zip(before, after, strict=True))) for n in pair]
