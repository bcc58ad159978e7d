"""MONAI's MedNeXt with as many levels of logits as are asked for, and norms that keep the data's layout."""

import torch
from monai.networks.nets import MedNeXt
from torch import Tensor, nn


class SupervisedMedNeXt(MedNeXt):  # type: ignore[misc]
    """MONAI's MedNeXt, names of weights included; in training with heads it returns each level's logits.

    MONAI's own computes the logits of all levels, in evaluation too.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, X, Y, Z) or, in training with heads, those of each level, finest first."""
        x = self.stem(x)
        skips = []
        for stage, down in zip(self.enc_stages, self.down_blocks, strict=True):
            skips.append(stage(x))
            x = down(skips[-1])
        x = self.bottleneck(x)
        levels = [x]
        for up, stage in zip(self.up_blocks, self.dec_stages, strict=True):
            x = stage(up(x) + skips.pop())
            levels.append(x)
        heads = self._coarse_heads() if self.training else []
        finest: Tensor = self.out_0(x)
        coarse = (head(level) for head, level in zip(heads, reversed(levels[:-1]), strict=False))
        return (finest, *coarse) if heads else finest

    def keep_heads(self, count: int) -> None:
        """Leave the coarse heads out but for the finest `count`."""
        self.out_blocks: nn.ModuleList = nn.ModuleList(list(self.out_blocks)[-count:])

    def output_layers(self) -> list[nn.Module]:
        """The convolutions that give logits, finest first."""
        return [head.conv_out for head in (self.out_0, *self._coarse_heads())]

    def _coarse_heads(self) -> list[nn.Module]:
        """The heads of the coarser levels, finest first; MONAI lists the coarsest first."""
        return list(reversed(self.out_blocks)) if self.do_ds else []


def use_float32_depthwise(network: nn.Module) -> nn.Module:
    """A network whose depthwise convolutions are trained in float32 on a CPU; names and weights stay.

    Their gradient in bfloat16 takes torch 2.13 there three times as long, conversions included.
    """
    for module in network.modules():
        if type(module) is nn.Conv3d and module.groups > 1:
            module.__class__ = DepthwiseConv3d
        elif type(module) is nn.ConvTranspose3d and module.groups > 1:
            module.__class__ = DepthwiseConvTranspose3d
    return network


class DepthwiseConv3d(nn.Conv3d):
    """torch's convolution, trained in float32 on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of (B, C, X, Y, Z), in the type that autocast asks for."""
        if not _trains_in_less(x):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(torch.get_autocast_dtype("cpu"))


class DepthwiseConvTranspose3d(nn.ConvTranspose3d):
    """torch's transposed convolution, trained in float32 on a CPU."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """The transposed convolution of (B, C, X, Y, Z), in the type that autocast asks for."""
        if not _trains_in_less(x):
            return super().forward(x, output_size)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float(), output_size).to(torch.get_autocast_dtype("cpu"))


def _trains_in_less(x: Tensor) -> bool:
    """Whether gradients are wanted on a CPU, in a type below float32."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
