"""The residual-encoder U-Net of nnU-Net (Isensee et al. 2024), in torch."""

import itertools
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from torch import Tensor, cat, nn

from volseg.model.networks.strides import Stride


class Level(NamedTuple):
    """A level of a U-Net: its channels, residual blocks, kernel, and the stride from the finer level."""

    channels: int
    blocks: int
    kernel: Stride
    stride: Stride


class ResidualEncoderUNet(nn.Module):
    """A U-Net whose encoder has residual blocks, many of them deep down, and whose decoder has little.

    Levels go from the finest, whose stride is 1, to the deepest. `outputs` levels of the decoder, finest
    first, give logits in training; in evaluation the finest alone.
    """

    def __init__(self, inputs: int, classes: int, levels: Sequence[Level], *, outputs: int) -> None:
        super().__init__()
        self.stem = ConvNormAct(inputs, levels[0].channels, levels[0].kernel)
        widths = [levels[0].channels, *(level.channels for level in levels)]
        self.encoder = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(before, level.channels, level.kernel, level.stride),
                *(
                    ResidualBlock(level.channels, level.channels, level.kernel, (1, 1, 1))
                    for _ in range(level.blocks - 1)
                ),
            )
            for before, level in zip(widths, levels, strict=False)
        )
        steps = list(itertools.pairwise(levels))
        self.decoder = nn.ModuleList(
            DecoderLevel(coarse.channels, fine.channels, fine.kernel, coarse.stride)
            for fine, coarse in reversed(steps)
        )
        self.heads = nn.ModuleList(nn.Conv3d(width, classes, 1) for width in widths[1 : outputs + 1])
        self.apply(_initialize)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, X, Y, Z) or, in training with several heads, those of each level, finest first."""
        x = self.stem(x)
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        levels: list[Tensor] = []
        for level in self.decoder:
            x = level(x, skips.pop())
            levels.insert(0, x)
        if len(self.heads) == 1 or not self.training:
            finest: Tensor = self.heads[0](x)
            return finest
        return tuple(head(level) for head, level in zip(self.heads, levels, strict=False))

    def output_layers(self) -> list[nn.Module]:
        """The convolutions that give logits, finest first."""
        return list(self.heads)


class ConvNormAct(nn.Sequential):
    """Convolution, instance norm and LeakyReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Stride, stride: Stride = (1, 1, 1)) -> None:
        super().__init__(*_conv_and_norm(inputs, outputs, kernel, stride), _activation())


class ResidualBlock(nn.Module):
    """Two convolutions with a residual connection; where it strides, the connection takes means of voxels.

    Where the channels change, a convolution of one voxel brings the connection to theirs (He et al. 2019,
    ResNet-D).
    """

    def __init__(self, inputs: int, outputs: int, kernel: Stride, stride: Stride) -> None:
        super().__init__()
        second, norm = _conv_and_norm(outputs, outputs, kernel)
        self.body = nn.Sequential(ConvNormAct(inputs, outputs, kernel, stride), second, norm)
        nn.init.zeros_(norm.weight)  # so that the block begins as its connection (Goyal et al. 2017)
        pool = [nn.AvgPool3d(stride, stride)] if prod(stride) > 1 else []
        project = _conv_and_norm(inputs, outputs, (1, 1, 1), bias=False) if inputs != outputs else ()
        self.connection = nn.Sequential(*pool, *project)
        self.activation = _activation()

    def forward(self, x: Tensor) -> Tensor:
        """(B, O, X / sx, Y / sy, Z / sz) of (B, I, X, Y, Z)."""
        out: Tensor = self.activation(self.body(x).add_(self.connection(x)))
        return out


class DecoderLevel(nn.Module):
    """A transposed convolution to the finer level, whose skip connection is joined, and a convolution."""

    def __init__(self, coarse: int, width: int, kernel: Stride, stride: Stride) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(coarse, width, stride, stride)
        self.conv = ConvNormAct(2 * width, width, kernel)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, O, X, Y, Z) of the coarser level and the skip connection (B, O, X, Y, Z)."""
        out: Tensor = self.conv(cat((self.up(x), skip), dim=1))
        return out


def _conv_and_norm(
    inputs: int, outputs: int, kernel: Stride, stride: Stride = (1, 1, 1), *, bias: bool = True
) -> tuple[nn.Conv3d, nn.InstanceNorm3d]:
    x, y, z = (size // 2 for size in kernel)
    conv = nn.Conv3d(inputs, outputs, kernel, stride, padding=(x, y, z), bias=bias)
    return conv, nn.InstanceNorm3d(outputs, affine=True)


def _activation() -> nn.Module:
    return nn.LeakyReLU(0.01, inplace=True)


def _initialize(module: nn.Module) -> None:
    """He et al. 2015, for the slope of the activation, as nnU-Net does."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
