"""The 2.5D U-Net: slices one by one, with their neighbours as channels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from volseg.model.networks.interface import NetworkSection, Reach
from volseg.model.networks.strides import Dropout, Stride

if TYPE_CHECKING:
    from torch import nn

FARTHEST = 16  # slices from the predicted one
Offset = Annotated[int, Field(ge=-FARTHEST, le=FARTHEST)]
Width = PositiveInt


class UNet25D(NetworkSection):
    """2.5D U-Net (MONAI's FlexibleUNet in 2D): each slice by itself, with its neighbours as channels.

    `offsets` are the slices that it sees, counted from the predicted one. Patches are flipped and turned in
    the slices' plane only; slices of a patch without their true neighbours have no say in the loss.
    `weights` is a file of the encoder's ImageNet weights, in the names of timm or EfficientNet-PyTorch, from
    which training starts; nothing is ever downloaded.
    """

    name: Literal["unet25d"] = "unet25d"
    backbone: Literal[
        "efficientnet-b0",
        "efficientnet-b1",
        "efficientnet-b2",
        "efficientnet-b3",
        "efficientnet-b4",
        "efficientnet-b5",
        "efficientnet-b6",
        "efficientnet-b7",
    ] = "efficientnet-b0"
    offsets: tuple[Offset, ...] = (-2, -1, 0, 1, 2)
    decoder: tuple[Width, Width, Width, Width, Width] = (256, 128, 64, 32, 16)
    dropout: Dropout = 0.0
    weights: Path | None = None

    @field_validator("offsets")
    @classmethod
    def _check_offsets(cls, offsets: tuple[int, ...]) -> tuple[int, ...]:
        if 0 not in offsets:
            message = "the predicted slice itself, 0, is missing"
            raise ValueError(message)
        if list(offsets) != sorted(set(offsets)):
            message = f"each slice once, from head to feet: {sorted(set(offsets))} would be right"
            raise ValueError(message)
        return offsets

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return (32, 32, 1)

    @property
    def reach(self) -> Reach:
        """The slices on either side that the network must truly see, as (0, 0, z)."""
        return (0, 0, max(map(abs, self.offsets)))

    @property
    def encoder_weights(self) -> Path | None:
        """The file of weights that the encoder starts from."""
        return self.weights

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """A network from `inputs` channels to `outputs` classes."""
        from volseg.model.networks.slice_network import SliceNetwork

        network: nn.Module = SliceNetwork(
            inputs,
            outputs,
            self.offsets,
            backbone=self.backbone,
            decoder_channels=self.decoder,
            dropout=self.dropout,
        )
        return network
