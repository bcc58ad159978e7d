"""The residual U-Net."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from volseg.model.networks.interface import NetworkSection
from volseg.model.networks.strides import (
    Dropout,
    Stride,
    Strides,
    check_levels,
    strides_per_axis,
    total_stride,
)

if TYPE_CHECKING:
    from torch import nn


class UNet(NetworkSection):
    """Residual U-Net (MONAI's): quick on CPU, the recipe of most 3D solutions for this data.

    `strides` has one step fewer than `channels`; a step is one number or one for each axis.
    """

    name: Literal["unet"] = "unet"
    channels: tuple[PositiveInt, ...] = Field(default=(32, 64, 128, 256, 512), min_length=2)
    strides: Strides = None
    res_units: int = Field(default=2, ge=0)
    norm: Literal["instance", "batch"] = "instance"
    dropout: Dropout = 0.0

    @model_validator(mode="after")
    def _check_stride_count(self) -> "UNet":
        check_levels(self.strides, len(self.channels))
        return self

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return total_stride(self._level_strides)

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """A network from `inputs` channels to `outputs` classes."""
        from monai.networks.nets import UNet

        from volseg.model.networks.instance_norm import use_channels_last_norms

        network: nn.Module = UNet(
            spatial_dims=3,
            in_channels=inputs,
            out_channels=outputs,
            channels=self.channels,
            strides=self._level_strides,
            num_res_units=self.res_units,
            norm=self.norm,
            dropout=self.dropout,
        )
        return use_channels_last_norms(network)

    @property
    def _level_strides(self) -> tuple[Stride, ...]:
        return strides_per_axis(self.strides, len(self.channels))
