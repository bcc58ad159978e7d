"""SwinUNETR, a transformer with a convolutional decoder."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from volseg.model.networks.interface import NetworkSection
from volseg.model.networks.strides import Stride

if TYPE_CHECKING:
    from torch import nn


class SwinUNETR(NetworkSection):
    """Swin-transformer encoder with a convolutional decoder (MONAI's, and its weights fit).

    `use_checkpoint` computes the encoder twice in each step and keeps less of it in memory.
    """

    name: Literal["swinunetr"] = "swinunetr"
    feature_size: PositiveInt = Field(default=24, multiple_of=12)
    use_checkpoint: bool = False

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return (32, 32, 32)

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """A network from `inputs` channels to `outputs` classes."""
        from monai.networks.nets import SwinUNETR

        from volseg.model.networks.instance_norm import use_channels_last_norms
        from volseg.model.networks.swin_attention import attend_in_cache

        network: nn.Module = SwinUNETR(
            in_channels=inputs,
            out_channels=outputs,
            feature_size=self.feature_size,
            use_checkpoint=self.use_checkpoint,
            spatial_dims=3,
        )
        return attend_in_cache(use_channels_last_norms(network))
