"""The networks: each maps (B, C, X, Y, Z) to logits (B, K, X, Y, Z) and states its stride."""

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from volseg.schema import Choice, Section

if TYPE_CHECKING:
    from torch import nn

Stride = tuple[int, int, int]
_Step = Annotated[int, Field(ge=1, le=4)]
Strides = tuple[_Step | tuple[_Step, _Step, _Step], ...] | None
"""A step a level below the first: one number, or one for each axis; None: 2 everywhere."""
Dropout = Annotated[float, Field(ge=0, lt=1)]


class UNet(Section):
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
    def _as_many(self) -> "UNet":
        _check_levels(self.strides, len(self.channels))
        return self

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return _product(self._steps)

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """The network for this many channels in and classes out."""
        from monai.networks.nets import UNet

        network: nn.Module = UNet(
            spatial_dims=3,
            in_channels=inputs,
            out_channels=outputs,
            channels=self.channels,
            strides=self._steps,
            num_res_units=self.res_units,
            norm=self.norm,
            dropout=self.dropout,
        )
        return network

    @property
    def _steps(self) -> tuple[Stride, ...]:
        return _each_axis(self.strides, len(self.channels))


class SegResNet(Section):
    """Residual encoder-decoder of the BraTS 2018 winner (MONAI's); the 3D part of this data's winner."""

    name: Literal["segresnet"] = "segresnet"
    filters: PositiveInt = Field(default=16, multiple_of=8)
    blocks_down: tuple[PositiveInt, ...] = Field(default=(1, 2, 2, 4), min_length=2)
    dropout: Dropout = 0.0

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return _product([(2, 2, 2)] * (len(self.blocks_down) - 1))

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """The network for this many channels in and classes out."""
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


class DynUNet(Section):
    """nnU-Net's U-Net (MONAI's): full resolution first, one stride a level, each axis by itself."""

    name: Literal["dynunet"] = "dynunet"
    filters: tuple[PositiveInt, ...] = Field(default=(32, 64, 128, 256, 320), min_length=3)
    strides: Strides = None
    residual: bool = False

    @model_validator(mode="after")
    def _as_many(self) -> "DynUNet":
        _check_levels(self.strides, len(self.filters))
        return self

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return _product(self._steps)

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """The network for this many channels in and classes out."""
        from monai.networks.nets import DynUNet

        steps = [list(step) for step in self._steps]
        network: nn.Module = DynUNet(
            spatial_dims=3,
            in_channels=inputs,
            out_channels=outputs,
            kernel_size=[[3, 3, 3]] * len(self.filters),
            strides=[[1, 1, 1], *steps],
            upsample_kernel_size=steps,
            filters=self.filters,
            res_block=self.residual,
        )
        return network

    @property
    def _steps(self) -> tuple[Stride, ...]:
        return _each_axis(self.strides, len(self.filters))


class SwinUNETR(Section):
    """Swin-transformer encoder with a convolutional decoder (MONAI's)."""

    name: Literal["swinunetr"] = "swinunetr"
    feature_size: PositiveInt = Field(default=24, multiple_of=12)
    use_checkpoint: bool = True

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return (32, 32, 32)

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """The network for this many channels in and classes out."""
        from monai.networks.nets import SwinUNETR

        network: nn.Module = SwinUNETR(
            in_channels=inputs,
            out_channels=outputs,
            feature_size=self.feature_size,
            use_checkpoint=self.use_checkpoint,
            spatial_dims=3,
        )
        return network


Network = Annotated[UNet | SegResNet | DynUNet | SwinUNETR, Choice()]


PRIOR = 0.1
"""The probability an untrained network gives every voxel and class."""


def expect_rare(network: "nn.Module", outputs: int, *, exclusive: bool) -> None:
    """Set the bias of the last layer so that every class starts at PRIOR.

    Organs fill few voxels; without this the first hundreds of steps only learn that (Lin et al.
    2017, section 4.1). Exclusive classes share PRIOR, lest many of them leave the background none.
    """
    share = PRIOR / outputs if exclusive else PRIOR
    rest = 1 - PRIOR  # of the class itself, or of the background
    layers = [m for m in network.modules() if getattr(m, "out_channels", None) == outputs]
    for layer in reversed(layers):
        if getattr(layer, "bias", None) is not None:
            layer.bias.data.fill_(math.log(share / rest))  # type: ignore[operator]
            return


def _check_levels(strides: Strides, levels: int) -> None:
    if strides is not None and len(strides) != levels - 1:
        message = f"strides: {levels} levels need {levels - 1} steps (got {len(strides)})"
        raise ValueError(message)


def _each_axis(strides: Strides, levels: int) -> tuple[Stride, ...]:
    steps = strides or (2,) * (levels - 1)
    return tuple((step, step, step) if isinstance(step, int) else step for step in steps)


def _product(steps: "tuple[Stride, ...] | list[Stride]") -> Stride:
    x, y, z = 1, 1, 1
    for step in steps:
        x, y, z = x * step[0], y * step[1], z * step[2]
    return x, y, z
