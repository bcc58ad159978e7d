"""DynUNet, nnU-Net's U-Net."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from volseg.model.networks.deep_supervision import DeepSupervision, decoder_levels
from volseg.model.networks.strides import Stride, Strides, check_levels, strides_per_axis, total_stride

if TYPE_CHECKING:
    from torch import nn


class DynUNet(DeepSupervision):
    """nnU-Net's U-Net (MONAI's): full resolution first, one stride a level, each axis by itself.

    With `deep_supervision` the loss also judges logits of coarser levels, as nnU-Net does;
    `level_weights` are the weights of the levels, finest first, and None is 1, 1/2, 1/4, ...
    of all levels of the decoder but the coarsest.
    """

    name: Literal["dynunet"] = "dynunet"
    filters: tuple[PositiveInt, ...] = Field(default=(32, 64, 128, 256, 320), min_length=3)
    strides: Strides = None
    residual: bool = False

    @model_validator(mode="after")
    def _check_stride_count(self) -> "DynUNet":
        check_levels(self.strides, len(self.filters))
        return self

    @property
    def stride(self) -> Stride:
        """The multiple that each axis of a patch must have."""
        return total_stride(self._level_strides)

    @property
    def supervised_levels(self) -> tuple[int, int]:
        """The number of levels that give logits by default, and at most."""
        return decoder_levels(len(self.filters))

    def build(self, inputs: int, outputs: int) -> "nn.Module":
        """A network from `inputs` channels to `outputs` classes."""
        from volseg.model.networks.instance_norm import use_channels_last_norms
        from volseg.model.networks.supervised_dynunet import SupervisedDynUNet

        steps = [list(step) for step in self._level_strides]
        network: nn.Module = SupervisedDynUNet(
            spatial_dims=3,
            in_channels=inputs,
            out_channels=outputs,
            kernel_size=[[3, 3, 3]] * len(self.filters),
            strides=[[1, 1, 1], *steps],
            upsample_kernel_size=steps,
            filters=self.filters,
            res_block=self.residual,
            deep_supervision=self.deep_supervision,
            deep_supr_num=max(1, self.outputs - 1),
        )
        return use_channels_last_norms(network)

    @property
    def _level_strides(self) -> tuple[Stride, ...]:
        return strides_per_axis(self.strides, len(self.filters))
