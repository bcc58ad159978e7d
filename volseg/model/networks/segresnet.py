"""SegResNet, a residual encoder-decoder with group norms."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from volseg.model.networks.strides import Dropout, Stride, total_stride
from volseg.schema import Section

if TYPE_CHECKING:
    from torch import nn


class SegResNet(Section):
    """Residual encoder-decoder of the BraTS 2018 winner (MONAI's); the 3D part of this data's winner."""

    name: Literal["segresnet"] = "segresnet"
    filters: PositiveInt = Field(default=16, multiple_of=8)
    blocks_down: tuple[PositiveInt, ...] = Field(default=(1, 2, 2, 4), min_length=2)
    dropout: Dropout = 0.0

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return total_stride([(2, 2, 2)] * (len(self.blocks_down) - 1))

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """A network from `inputs` channels to `outputs` classes."""
        from monai.networks.nets import SegResNet

        network: nn.Module = SegResNet(
            spatial_dims=3,
            init_filters=self.filters,
            in_channels=inputs,
            out_channels=outputs,
            dropout_prob=self.dropout or None,
            blocks_down=self.blocks_down,
            blocks_up=(1,) * (len(self.blocks_down) - 1),
        )
        return network
