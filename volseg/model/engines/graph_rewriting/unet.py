"""The last level and the residual units of MONAI's UNet, rewritten."""

from copy import deepcopy
from math import prod

import torch
from monai.networks.blocks import Convolution, ResidualUnit
from monai.networks.nets import UNet
from torch import Tensor, nn

from volseg.model.engines.graph_rewriting.block_convolution import (
    depth_to_space,
    is_block_convertible,
    same_size_block_conv,
    transposed_block_conv,
)

MOST = 32
"""Channels of blocks up to which the last level is faster in blocks than in voxels (measured)."""


def rewrite_unet(network: nn.Module) -> None:
    """Rewrite the last level and the residual units of a UNet; other networks stay as they are."""
    if not isinstance(network, UNet):
        return
    last = network.model[2]
    if _is_small_last_level(last):
        network.model[2] = BlockLastLevel(last[0], last[1])
    _merge_residual_units(network)


class BlockLastLevel(nn.Module):
    """The last level in blocks of its stride: at full resolution it has too few channels to be fast."""

    def __init__(self, up: Convolution, unit: ResidualUnit) -> None:
        super().__init__()
        self.size = up.conv.stride
        self.up = transposed_block_conv(up.conv)
        self.adn = nn.Sequential(*(_on_blocks(part, prod(self.size)) for part in up.adn))
        self.conv = same_size_block_conv(unit.conv.unit0.conv, self.size)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K, X * sx, Y * sy, Z * sz) from (B, C, X, Y, Z)."""
        blocks = self.adn(self.up(x))
        return depth_to_space(self.conv(blocks) + blocks, self.size)


class BlockInstanceNorm(nn.Module):
    """An instance norm of blocks of n voxels, (B, C * n, X, Y, Z)."""

    def __init__(self, norm: nn.InstanceNorm3d, voxels: int) -> None:
        super().__init__()
        self.norm, self.voxels = norm, voxels

    def forward(self, blocks: Tensor) -> Tensor:
        """The blocks, each channel normalised over the voxels of all blocks."""
        batch, channels, x, y, z = blocks.shape
        voxels = blocks.reshape(batch, channels // self.voxels, self.voxels * x, y, z)
        normal: Tensor = self.norm(voxels)
        return normal.reshape(batch, channels, x, y, z)


class MergedResidualUnit(nn.Module):
    """A residual unit whose first and residual convolutions, of the same input, are merged into one."""

    def __init__(self, unit: ResidualUnit) -> None:
        super().__init__()
        first = unit.conv.unit0
        self.both = _merge_convolutions(first.conv, unit.residual)
        self.rest = nn.Sequential(*list(first)[1:], *list(unit.conv)[1:])

    def forward(self, x: Tensor) -> Tensor:
        """The output of the residual unit for (B, C, X, Y, Z)."""
        inner, residual = self.both(x).chunk(2, dim=1)
        out: Tensor = self.rest(inner) + residual
        return out


def _is_small_last_level(last: nn.Module) -> bool:
    """Whether a level is a transposed convolution and a residual unit of few channels."""
    if type(last) is not nn.Sequential or len(last) != 2 or not isinstance(last[1], ResidualUnit):
        return False
    up: nn.ConvTranspose3d = last[0].conv  # type: ignore[assignment]
    return is_block_convertible(up) and prod(up.stride) * up.out_channels <= MOST


def _on_blocks(part: nn.Module, voxels: int) -> nn.Module:
    """A norm, dropout or activation for blocks of n voxels."""
    if isinstance(part, nn.InstanceNorm3d):
        return BlockInstanceNorm(part, voxels)
    if isinstance(part, nn.BatchNorm3d):
        wide = deepcopy(part)
        for values in (*wide.parameters(), *wide.buffers()):
            if values.ndim:
                values.data = values.data.repeat_interleave(voxels)
        wide.num_features *= voxels
        return wide
    return part


def _merge_residual_units(network: nn.Module) -> None:
    """Merge the first and the residual convolution of each residual unit where that is possible."""
    for parent in list(network.modules()):
        for name, unit in list(parent.named_children()):
            if isinstance(unit, ResidualUnit) and _reads_same_voxels(unit.conv.unit0.conv, unit.residual):
                setattr(parent, name, MergedResidualUnit(unit))


def _reads_same_voxels(first: nn.Module, second: nn.Module) -> bool:
    """Whether both modules are convolutions that read the same voxels."""
    names = ("kernel_size", "stride", "padding", "dilation", "groups")
    convolutions = type(first) is type(second) is nn.Conv3d
    return convolutions and all(getattr(first, name) == getattr(second, name) for name in names)


def _merge_convolutions(first: nn.Conv3d, second: nn.Conv3d) -> nn.Conv3d:
    """One convolution whose output is the channels of the first, then those of the second."""
    both = deepcopy(first)
    both.out_channels += second.out_channels
    both.weight = nn.Parameter(torch.cat([first.weight, second.weight]).detach())
    if first.bias is not None and second.bias is not None:
        both.bias = nn.Parameter(torch.cat([first.bias, second.bias]).detach())
    return both
