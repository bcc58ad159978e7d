"""A network: convolutions at full resolution."""

import itertools
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from volseg.model.networks.interface import NetworkSection

if TYPE_CHECKING:
    from torch import nn


class PlainCNN(NetworkSection):
    """Convolutions at full resolution, without a way down: for small structures on a coarse grid."""

    name: Literal["plain_cnn"] = "plain_cnn"
    width: PositiveInt = 16
    depth: PositiveInt = 4

    @property
    def stride(self) -> tuple[int, int, int]:
        """The multiple that each axis of a patch must have."""
        return (1, 1, 1)

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """A network from (B, inputs, X, Y, Z) to logits (B, outputs, X, Y, Z)."""
        from torch import nn  # here, so that a config is checked without torch

        channels = [inputs, *[self.width] * self.depth]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv3d(before, after, 3, padding=1), nn.PReLU()]
        return nn.Sequential(*layers, nn.Conv3d(self.width, outputs, 1))
