"""MONAI's DynUNet with logits of several levels, each of its own size."""

from monai.networks.nets import DynUNet
from torch import Tensor, nn


class SupervisedDynUNet(DynUNet):  # type: ignore[misc]
    """MONAI's DynUNet, names of weights included; in training with heads it returns each level's logits.

    MONAI's own enlarges coarse logits to the finest size and stacks them, which takes memory and time, and
    keeps them until the next batch.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, X, Y, Z) or, in training with heads, those of each level, finest first."""
        skips = [self.input_block(x)]
        for down in self.downsamples:
            skips.append(down(skips[-1]))
        x = self.bottleneck(skips[-1])
        levels = []
        for up in self.upsamples:
            x = up(x, skips.pop())
            levels.append(x)
        finest: Tensor = self.output_block(x)
        heads = self._coarse_heads() if self.training else []
        coarse = (head(level) for head, level in zip(heads, reversed(levels[:-1]), strict=False))
        return (finest, *coarse) if heads else finest

    def output_layers(self) -> list[nn.Module]:
        """The convolutions that give logits, finest first."""
        return [head.conv.conv for head in (self.output_block, *self._coarse_heads())]

    def _coarse_heads(self) -> list[nn.Module]:
        return list(self.deep_supervision_heads) if self.deep_supervision else []
