"""The parts of MONAI's UNet that have cheaper forms."""

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
"""As many channels as blocks of the last level may have to be quicker than voxels are (measured)."""


def rewrite_unet(network: nn.Module) -> None:
    """Replace the parts of a UNet; other networks stay as they are."""
    if not isinstance(network, UNet):
        return
    last = network.model[2]
    if _is_small_last_level(last):
        network.model[2] = BlockLastLevel(last[0], last[1])
    _merge_residual_units(network)


class BlockLastLevel(nn.Module):
    """The last level in blocks of its stride: at full resolution it has too few channels to be quick."""

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
    """An instance norm of channels in blocks of n voxels, (B, C * n, X, Y, Z)."""

    def __init__(self, norm: nn.InstanceNorm3d, voxels: int) -> None:
        super().__init__()
        self.norm, self.voxels = norm, voxels

    def forward(self, blocks: Tensor) -> Tensor:
        """The blocks, each channel normalised over the voxels of all of them."""
        batch, channels, x, y, z = blocks.shape
        whole = blocks.reshape(batch, channels // self.voxels, self.voxels * x, y, z)
        normal: Tensor = self.norm(whole)
        return normal.reshape(batch, channels, x, y, z)


class MergedResidualUnit(nn.Module):
    """A residual unit whose first convolution and residual one, which read the same, are one."""

    def __init__(self, unit: ResidualUnit) -> None:
        super().__init__()
        first = unit.conv.unit0
        self.both = _merge_convolutions(first.conv, unit.residual)
        self.rest = nn.Sequential(*list(first)[1:], *list(unit.conv)[1:])

    def forward(self, x: Tensor) -> Tensor:
        """As the unit does."""
        inner, residual = self.both(x).chunk(2, dim=1)
        out: Tensor = self.rest(inner) + residual
        return out


def _is_small_last_level(last: nn.Module) -> bool:
    """Whether it is a transposed convolution and a residual unit of few channels."""
    if type(last) is not nn.Sequential or len(last) != 2 or not isinstance(last[1], ResidualUnit):
        return False
    up: nn.ConvTranspose3d = last[0].conv  # type: ignore[assignment]
    return is_block_convertible(up) and prod(up.stride) * up.out_channels <= MOST


def _on_blocks(part: nn.Module, voxels: int) -> nn.Module:
    """A norm, dropout or activation as it is on blocks of n voxels."""
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
    """Make one of the first two convolutions of each residual unit where that is possible."""
    for parent in list(network.modules()):
        for name, unit in list(parent.named_children()):
            if isinstance(unit, ResidualUnit) and _reads_same_voxels(unit.conv.unit0.conv, unit.residual):
                setattr(parent, name, MergedResidualUnit(unit))


def _reads_same_voxels(first: nn.Module, second: nn.Module) -> bool:
    """Whether both are convolutions that read the same voxels."""
    if type(first) is not nn.Conv3d or type(second) is not nn.Conv3d:
        return False
    return all(
        getattr(first, name) == getattr(second, name)
        for name in ("kernel_size", "stride", "padding", "dilation", "groups")
    )


def _merge_convolutions(first: nn.Conv3d, second: nn.Conv3d) -> nn.Conv3d:
    """One convolution that gives the channels of the first, then those of the second."""
    both = deepcopy(first)
    both.out_channels += second.out_channels
    both.weight = nn.Parameter(torch.cat([first.weight, second.weight]).detach())
    if first.bias is not None and second.bias is not None:
        both.bias = nn.Parameter(torch.cat([first.bias, second.bias]).detach())
    return both
